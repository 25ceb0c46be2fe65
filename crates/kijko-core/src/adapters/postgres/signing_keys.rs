//! The encrypted key pairs that sign access tokens.

use async_trait::async_trait;

use super::errors::translate;
use super::tx::PgSystemTx;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ports::identity::{SigningKeyRepo, StoredSigningKey};

#[async_trait]
impl SigningKeyRepo for PgSystemTx {
    async fn published(&mut self, now: Timestamp) -> Result<Vec<StoredSigningKey>> {
        let rows = sqlx::query!(
            "SELECT id, encrypted, published_until FROM signing_keys
              WHERE retired_at IS NULL OR published_until > $1 ORDER BY retired_at DESC NULLS FIRST, id",
            now,
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        let key = |id: sqlx::types::Uuid, encrypted, published_until| StoredSigningKey {
            id: id.into(),
            encrypted,
            published_until,
        };
        Ok(rows.into_iter().map(|row| key(row.id, row.encrypted, row.published_until)).collect())
    }

    async fn insert(&mut self, key: &StoredSigningKey, note: Option<&str>, now: Timestamp) -> Result<bool> {
        let done = sqlx::query!(
            "INSERT INTO signing_keys (id, algorithm, encrypted, note, created_at) VALUES ($1, 'RS256', $2, $3, $4)
             ON CONFLICT DO NOTHING",
            key.id.0,
            key.encrypted,
            note,
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(done.rows_affected() == 1)
    }

    async fn retire(&mut self, now: Timestamp, published_until: Timestamp) -> Result<()> {
        sqlx::query!(
            "UPDATE signing_keys SET retired_at = coalesce(retired_at, $1), published_until = least(published_until, $2)",
            now,
            published_until,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }

    async fn delete_unpublished(&mut self, now: Timestamp) -> Result<()> {
        sqlx::query!("DELETE FROM signing_keys WHERE published_until <= $1", now)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(())
    }
}
