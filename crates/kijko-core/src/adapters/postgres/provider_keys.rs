//! Keys for model providers. They are changed by the functions of the schema `app` alone.

use async_trait::async_trait;

use super::errors::translate;
use super::tx::PgTenantTx;
use crate::domain::models::{Endpoint, Provider};
use crate::domain::plans::Plan;
use crate::domain::provider_keys::{ProviderKey, SealedProviderKey};
use crate::error::{Error, Result};
use crate::ports::provider_keys::ProviderKeyRepo;

fn provider(text: &str) -> Result<Provider> {
    Provider::of_customers(text).ok_or_else(|| Error::internal("reading a provider key", text.to_owned()))
}

#[async_trait]
impl ProviderKeyRepo for PgTenantTx {
    async fn list(&mut self) -> Result<Vec<ProviderKey>> {
        let rows = sqlx::query!(
            "SELECT provider, last_four, base_url, api_version, stored_by, stored_at
               FROM provider_keys ORDER BY provider LIMIT 10"
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        rows.into_iter()
            .map(|row| {
                Ok(ProviderKey {
                    provider: provider(&row.provider)?,
                    last_four: row.last_four,
                    base_url: row.base_url,
                    api_version: row.api_version,
                    stored_by: row.stored_by.map(Into::into),
                    stored_at: row.stored_at,
                })
            })
            .collect()
    }

    async fn in_force(&mut self) -> Result<(Plan, Vec<SealedProviderKey>)> {
        let rows = sqlx::query!(
            r#"SELECT o.id, o.plan, k.provider AS "provider?", k.sealed_key AS "sealed_key?", k.base_url, k.api_version
                 FROM organizations o LEFT JOIN provider_keys k ON k.organization_id = o.id"#
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        // An organisation on a plan that this program does not know has the smallest.
        let plan = rows.first().and_then(|row| Plan::parse(&row.plan)).unwrap_or(Plan::Free);
        let mut keys = Vec::new();
        for row in rows {
            let (Some(name), Some(sealed)) = (row.provider, row.sealed_key) else { continue };
            let api_version = row.api_version;
            let endpoint = row.base_url.map(|base_url| Endpoint { base_url, api_version });
            let provider = provider(&name)?;
            keys.push(SealedProviderKey { organization_id: row.id.into(), provider, sealed, endpoint });
        }
        Ok((plan, keys))
    }

    async fn store(&mut self, key: &ProviderKey, sealed: &[u8]) -> Result<bool> {
        sqlx::query_scalar!(
            r#"SELECT app.store_provider_key($1, $2, $3, $4, $5, $6) AS "done!""#,
            key.provider.as_str(),
            sealed,
            key.last_four,
            key.base_url,
            key.api_version,
            key.stored_at,
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)
    }

    async fn delete(&mut self, provider: Provider) -> Result<bool> {
        sqlx::query_scalar!(r#"SELECT app.delete_provider_key($1) AS "done!""#, provider.as_str())
            .fetch_one(self.conn())
            .await
            .map_err(translate)
    }
}
