//! API keys. The policies confine every statement of a tenant to the user in the context.

use async_trait::async_trait;
use sqlx::types::Uuid;

use super::errors::translate;
use super::tx::{PgSystemTx, PgTenantTx};
use crate::domain::api_keys::{ApiKey, KeyHolder, KeyUse, Scope};
use crate::domain::ids::{ApiKeyId, OrganizationId};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ports::api_keys::{AllApiKeysRepo, ApiKeyRepo, StoredKey};

/// Every list is bounded, also those that are no pages.
const MOST: i64 = 500;

struct ApiKeyRow {
    id: Uuid,
    user_id: Option<Uuid>,
    name: String,
    key_prefix: String,
    scopes: Vec<String>,
    created_at: Timestamp,
    last_used_at: Option<Timestamp>,
    usage_count: i64,
    expires_at: Option<Timestamp>,
}

impl ApiKeyRow {
    fn into_key(self, now: Timestamp) -> Result<ApiKey> {
        Ok(ApiKey {
            id: self.id.into(),
            user_id: self.user_id.map(Into::into),
            name: self.name,
            key_prefix: self.key_prefix,
            scopes: scopes(&self.scopes)?,
            created_at: self.created_at,
            last_used_at: self.last_used_at,
            usage_count: self.usage_count,
            expires_at: self.expires_at,
            is_expired: self.expires_at.is_some_and(|end| end <= now),
        })
    }
}

fn scopes(names: &[String]) -> Result<Vec<Scope>> {
    let scope = |name: &String| Scope::parse(name).ok_or_else(|| Error::internal("reading a scope", name.clone()));
    names.iter().map(scope).collect()
}

#[async_trait]
impl ApiKeyRepo for PgTenantTx {
    async fn list(&mut self, now: Timestamp) -> Result<Vec<ApiKey>> {
        let rows = sqlx::query_as!(
            ApiKeyRow,
            r#"SELECT id, NULL::uuid AS user_id, name, key_prefix, scopes, created_at, last_used_at, usage_count,
                      expires_at
                 FROM api_keys WHERE revoked_at IS NULL ORDER BY created_at DESC, id LIMIT $1"#,
            MOST,
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        rows.into_iter().map(|row| row.into_key(now)).collect()
    }

    async fn count_live(&mut self, now: Timestamp) -> Result<i64> {
        sqlx::query_scalar!(
            r#"SELECT pg_advisory_xact_lock(hashtextextended('api_keys:' || app.current_user_id()::text, 0))
                      IS NULL AS "locked!""#
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)?;
        sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM api_keys
                WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1)"#,
            now,
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)
    }

    async fn insert(&mut self, key: &StoredKey<'_>, now: Timestamp) -> Result<()> {
        let scopes: Vec<String> = key.new.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
        sqlx::query!(
            "INSERT INTO api_keys (id, name, key_hash, key_prefix, scopes, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            key.id.0,
            key.new.name,
            key.hash.as_slice(),
            key.prefix,
            &scopes,
            now,
            key.expires_at,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }

    async fn revoke(&mut self, id: ApiKeyId, now: Timestamp) -> Result<Option<String>> {
        sqlx::query_scalar!(
            "UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING name",
            id.0,
            now,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)
    }
}

#[async_trait]
impl AllApiKeysRepo for PgSystemTx {
    async fn find_by_hash(&mut self, hash: &[u8; 32]) -> Result<Option<KeyHolder>> {
        let row = sqlx::query!(
            "SELECT organization_id, id, user_id, scopes, expires_at, revoked_at FROM api_keys WHERE key_hash = $1",
            hash.as_slice(),
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        let holder = row.map(|row| {
            Ok(KeyHolder {
                id: row.id.into(),
                organization_id: row.organization_id.into(),
                user_id: row.user_id.into(),
                scopes: scopes(&row.scopes)?,
                expires_at: row.expires_at,
                revoked: row.revoked_at.is_some(),
            })
        });
        holder.transpose()
    }

    async fn list(&mut self, organization: OrganizationId, now: Timestamp) -> Result<Vec<ApiKey>> {
        let rows = sqlx::query_as!(
            ApiKeyRow,
            r#"SELECT id, user_id AS "user_id?", name, key_prefix, scopes, created_at, last_used_at, usage_count,
                      expires_at
                 FROM api_keys WHERE organization_id = $1 AND revoked_at IS NULL
                ORDER BY created_at DESC, id LIMIT $2"#,
            organization.0,
            MOST,
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        rows.into_iter().map(|row| row.into_key(now)).collect()
    }

    async fn revoke(&mut self, organization: OrganizationId, id: ApiKeyId, now: Timestamp) -> Result<Option<String>> {
        sqlx::query_scalar!(
            "UPDATE api_keys SET revoked_at = $3
              WHERE organization_id = $1 AND id = $2 AND revoked_at IS NULL RETURNING name",
            organization.0,
            id.0,
            now,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)
    }

    async fn record_use(&mut self, uses: &[KeyUse]) -> Result<()> {
        let organizations: Vec<Uuid> = uses.iter().map(|u| u.organization_id.0).collect();
        let ids: Vec<Uuid> = uses.iter().map(|u| u.id.0).collect();
        let counts: Vec<i64> = uses.iter().map(|u| u.count).collect();
        let moments: Vec<Timestamp> = uses.iter().map(|u| u.last_used_at).collect();
        // Locked in one order by every process, so that two of them cannot wait for each other.
        sqlx::query!(
            "WITH used AS (SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::timestamptz[])
                                      AS u (organization_id, id, uses, last_used_at)),
                  held AS (SELECT k.organization_id, k.id FROM api_keys k JOIN used u USING (organization_id, id)
                            ORDER BY k.organization_id, k.id FOR UPDATE OF k)
             UPDATE api_keys k
                SET usage_count = k.usage_count + u.uses, last_used_at = greatest(k.last_used_at, u.last_used_at)
               FROM held JOIN used u USING (organization_id, id)
              WHERE k.organization_id = held.organization_id AND k.id = held.id",
            &organizations,
            &ids,
            &counts,
            &moments,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }
}
