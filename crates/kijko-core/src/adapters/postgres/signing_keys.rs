//! The encrypted key pairs that sign access tokens.

use async_trait::async_trait;

use super::errors::translate;
use super::tx::PgSystemTx;
use crate::domain::ids::SigningKeyId;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ports::identity::SigningKeyRepo;

#[async_trait]
impl SigningKeyRepo for PgSystemTx {
    async fn active(&mut self) -> Result<Option<(SigningKeyId, Vec<u8>)>> {
        let row = sqlx::query!("SELECT id, encrypted FROM signing_keys WHERE retired_at IS NULL")
            .fetch_optional(self.conn())
            .await
            .map_err(translate)?;
        Ok(row.map(|row| (row.id.into(), row.encrypted)))
    }

    async fn insert(&mut self, id: SigningKeyId, encrypted: &[u8], now: Timestamp) -> Result<bool> {
        let done = sqlx::query!(
            "INSERT INTO signing_keys (id, algorithm, encrypted, created_at) VALUES ($1, 'RS256', $2, $3)
             ON CONFLICT DO NOTHING",
            id.0,
            encrypted,
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(done.rows_affected() == 1)
    }
}
