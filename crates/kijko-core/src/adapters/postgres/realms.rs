//! Users and sign-ins of an outside identity provider.

use async_trait::async_trait;

use super::accounts::AccountRow;
use super::errors::translate;
use super::tx::PgSystemTx;
use crate::domain::accounts::{Account, User};
use crate::domain::ids::{OrganizationId, SessionId, UserId};
use crate::domain::organizations::Organization;
use crate::domain::profiles::Profile;
use crate::domain::realms::{Namesake, RealmSession};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ports::realms::{RealmSessionRepo, RealmUserRepo};

#[async_trait]
impl RealmUserRepo for PgSystemTx {
    async fn find(&mut self, subject: &str, organization: Option<OrganizationId>) -> Result<Option<Account>> {
        let row = sqlx::query_as!(
            AccountRow,
            r#"SELECT u.id, u.email, u.email_verified_at, NULL::text AS password_hash, u.first_name, u.last_name,
                      u.is_platform_admin, u.disabled_at, m.organization_id AS "organization_id?",
                      o.name AS "organization_name?", o.plan AS "plan?", m.role AS "role?"
                 FROM users u
                 LEFT JOIN organization_members m ON m.user_id = u.id AND m.status = 'active'
                                                 AND ($2::uuid IS NULL OR m.organization_id = $2)
                 LEFT JOIN organizations o ON o.id = m.organization_id
                WHERE u.keycloak_sub = $1
                ORDER BY m.joined_at, m.organization_id
                LIMIT 1"#,
            subject,
            organization.map(|id| id.0),
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        Ok(row.map(AccountRow::into_account).transpose()?.map(|(account, _)| account))
    }

    async fn find_namesake(&mut self, email: &str) -> Result<Option<Namesake>> {
        let row = sqlx::query!("SELECT id, email_verified_at, keycloak_sub FROM users WHERE email = $1", email)
            .fetch_optional(self.conn())
            .await
            .map_err(translate)?;
        Ok(row.map(|row| Namesake {
            id: row.id.into(),
            email_verified: row.email_verified_at.is_some(),
            linked: row.keycloak_sub.is_some(),
        }))
    }

    async fn link(&mut self, user: UserId, subject: &str, now: Timestamp) -> Result<bool> {
        let done = sqlx::query!(
            "UPDATE users SET keycloak_sub = $2, updated_at = $3
              WHERE id = $1 AND keycloak_sub IS NULL AND NOT EXISTS (SELECT FROM users WHERE keycloak_sub = $2)",
            user.0,
            subject,
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(done.rows_affected() == 1)
    }

    async fn insert(
        &mut self,
        user: &User,
        subject: &str,
        organization: Option<&Organization>,
        now: Timestamp,
    ) -> Result<bool> {
        let done = sqlx::query!(
            "INSERT INTO users (id, email, email_verified_at, first_name, last_name, keycloak_sub, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT DO NOTHING",
            user.id.0,
            user.email,
            user.email_verified.then_some(now),
            user.first_name,
            user.last_name,
            subject,
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        if let Some(organization) = organization {
            self.insert_own_organization(user.id, organization, now).await?;
        }
        Ok(true)
    }

    async fn follow(&mut self, user: UserId, profile: &Profile, now: Timestamp) -> Result<()> {
        if profile.given_name.is_some() {
            let (first_name, last_name) = profile.names();
            sqlx::query!(
                "UPDATE users SET first_name = $2, last_name = $3, updated_at = $4
                  WHERE id = $1 AND (first_name, last_name) IS DISTINCT FROM ($2, $3)",
                user.0,
                first_name,
                last_name,
                now,
            )
            .execute(self.conn())
            .await
            .map_err(translate)?;
        }
        let Some(address) = profile.address().filter(|_| profile.email_verified) else { return Ok(()) };
        // An address that another user of ours has stays theirs.
        sqlx::query!(
            "UPDATE users u SET email = $2, updated_at = $3,
                    email_verified_at = CASE WHEN u.email = $2 THEN coalesce(u.email_verified_at, $3) ELSE $3 END
              WHERE id = $1 AND (email <> $2 OR email_verified_at IS NULL)
                AND NOT EXISTS (SELECT FROM users o WHERE o.email = $2 AND o.id <> $1)",
            user.0,
            address,
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }
}

#[async_trait]
impl RealmSessionRepo for PgSystemTx {
    async fn find(&mut self, id: SessionId) -> Result<Option<RealmSession>> {
        let row = sqlx::query!("SELECT sid, sealed, ended_at FROM realm_sessions WHERE session_id = $1", id.0)
            .fetch_optional(self.conn())
            .await
            .map_err(translate)?;
        Ok(row.map(|row| RealmSession { sid: row.sid, sealed: row.sealed, ended: row.ended_at.is_some() }))
    }

    async fn keep(&mut self, id: SessionId, sid: &str, sealed: &[u8], until: Timestamp) -> Result<bool> {
        let done = sqlx::query!(
            "INSERT INTO realm_sessions AS s (session_id, sid, sealed, expires_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (session_id) DO UPDATE SET sealed = $3, claimed_until = NULL, expires_at = $4
              WHERE s.ended_at IS NULL",
            id.0,
            sid,
            sealed,
            until,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(done.rows_affected() == 1)
    }

    async fn claim(&mut self, id: SessionId, now: Timestamp, until: Timestamp) -> Result<bool> {
        let done = sqlx::query!(
            "UPDATE realm_sessions SET claimed_until = $3
              WHERE session_id = $1 AND ended_at IS NULL AND (claimed_until IS NULL OR claimed_until <= $2)",
            id.0,
            now,
            until,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(done.rows_affected() == 1)
    }

    async fn release(&mut self, id: SessionId) -> Result<()> {
        sqlx::query!("UPDATE realm_sessions SET claimed_until = NULL WHERE session_id = $1", id.0)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(())
    }

    async fn end(&mut self, id: SessionId, sid: &str, until: Timestamp, now: Timestamp) -> Result<()> {
        sqlx::query!(
            "INSERT INTO realm_sessions AS s (session_id, sid, expires_at, ended_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (session_id) DO UPDATE
                SET sealed = NULL, claimed_until = NULL, ended_at = coalesce(s.ended_at, $4),
                    expires_at = greatest(s.expires_at, $3)",
            id.0,
            sid,
            until,
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }

    async fn purge(&mut self, before: Timestamp) -> Result<()> {
        sqlx::query!("DELETE FROM realm_sessions WHERE expires_at < $1", before)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(())
    }
}
