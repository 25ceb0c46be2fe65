//! Sessions and refresh tokens.

use async_trait::async_trait;

use super::errors::translate;
use super::tx::PgSystemTx;
use crate::domain::ids::{OrganizationId, RefreshTokenId, SessionId, UserId};
use crate::domain::sessions::{AuthMethod, Origin, RefreshToken, Rotation, Session};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ports::sessions::SessionRepo;

#[async_trait]
impl SessionRepo for PgSystemTx {
    async fn find(&mut self, id: SessionId) -> Result<Option<Session>> {
        let row = sqlx::query!(
            "SELECT organization_id, id, user_id, auth_method, created_at, expires_at, revoked_at
               FROM user_sessions WHERE id = $1",
            id.0,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        row.map(|row| {
            Ok(Session {
                id: row.id.into(),
                organization_id: row.organization_id.into(),
                user_id: row.user_id.into(),
                auth_method: AuthMethod::parse(&row.auth_method)
                    .ok_or_else(|| Error::internal("reading a session", row.auth_method))?,
                created_at: row.created_at,
                expires_at: row.expires_at,
                revoked: row.revoked_at.is_some(),
            })
        })
        .transpose()
    }

    async fn insert(&mut self, session: &Session, origin: &Origin) -> Result<()> {
        sqlx::query!(
            "INSERT INTO user_sessions
                 (organization_id, id, user_id, auth_method, user_agent, ip, created_at, last_active, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6::text::inet, $7, $7, $8)",
            session.organization_id.0,
            session.id.0,
            session.user_id.0,
            session.auth_method.as_str(),
            origin.user_agent,
            origin.address.to_string(),
            session.created_at,
            session.expires_at,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }

    async fn touch(&mut self, id: SessionId, now: Timestamp, expires_at: Timestamp) -> Result<()> {
        sqlx::query!(
            "UPDATE user_sessions SET last_active = $2, expires_at = $3 WHERE id = $1",
            id.0,
            now,
            expires_at,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }

    async fn revoke(&mut self, id: SessionId, reason: &'static str, now: Timestamp) -> Result<bool> {
        let done = sqlx::query!(
            "UPDATE user_sessions SET revoked_at = $3, revoke_reason = $2 WHERE id = $1 AND revoked_at IS NULL",
            id.0,
            reason,
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(done.rows_affected() == 1)
    }

    async fn revoke_all(
        &mut self,
        user: UserId,
        reason: &'static str,
        now: Timestamp,
    ) -> Result<Vec<(SessionId, OrganizationId)>> {
        let rows = sqlx::query!(
            "UPDATE user_sessions SET revoked_at = $3, revoke_reason = $2
              WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $3
              RETURNING id, organization_id",
            user.0,
            reason,
            now,
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        Ok(rows.into_iter().map(|row| (row.id.into(), row.organization_id.into())).collect())
    }

    async fn find_token(&mut self, hash: &[u8; 32]) -> Result<Option<RefreshToken>> {
        let row = sqlx::query!(
            "SELECT id, session_id, created_at, expires_at, rotated_at, replaced_by
               FROM refresh_tokens WHERE token_hash = $1",
            hash.as_slice(),
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        Ok(row.map(|row| RefreshToken {
            id: row.id.into(),
            session_id: row.session_id.into(),
            token_hash: *hash,
            created_at: row.created_at,
            expires_at: row.expires_at,
            rotation: row.rotated_at.zip(row.replaced_by).map(|(at, by)| Rotation { at, successor: by.into() }),
        }))
    }

    async fn insert_token(&mut self, token: &RefreshToken) -> Result<()> {
        if token.rotation.is_some() {
            return Err(Error::internal("storing a refresh token", "a new token cannot be rotated already"));
        }
        sqlx::query!(
            "INSERT INTO refresh_tokens (id, session_id, token_hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
            token.id.0,
            token.session_id.0,
            token.token_hash.as_slice(),
            token.created_at,
            token.expires_at,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }

    async fn rotate_token(&mut self, id: RefreshTokenId, successor: RefreshTokenId, now: Timestamp) -> Result<bool> {
        let done = sqlx::query!(
            "UPDATE refresh_tokens SET rotated_at = $3, replaced_by = $2 WHERE id = $1 AND rotated_at IS NULL",
            id.0,
            successor.0,
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(done.rows_affected() == 1)
    }
}
