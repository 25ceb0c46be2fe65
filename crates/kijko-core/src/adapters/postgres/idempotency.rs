//! Replies that a repeated request gets again.

use async_trait::async_trait;

use super::errors::translate;
use super::tx::{PgSystemTx, PgTenantTx};
use crate::domain::idempotency::{IdempotencyKey, KeptReply};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ports::idempotency::{IdempotencyRepo, OldRepliesRepo};

#[async_trait]
impl IdempotencyRepo for PgTenantTx {
    async fn find(&mut self, key: &IdempotencyKey, after: Timestamp) -> Result<Option<KeptReply>> {
        sqlx::query_scalar!(
            r#"SELECT pg_advisory_xact_lock(hashtextextended(
                      format('idempotency:%s:%s:%s', app.current_org(), app.current_user_id(), $1::text), 0))
                      IS NULL AS "locked!""#,
            key.as_str(),
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)?;
        let row = sqlx::query!(
            "SELECT fingerprint, reply FROM idempotency_keys WHERE key = $1 AND created_at > $2",
            key.as_str(),
            after,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        let kept = row.map(|row| {
            let fingerprint = row.fingerprint.try_into();
            let fingerprint =
                fingerprint.map_err(|_| Error::internal("reading a fingerprint", "it has another length"))?;
            Ok(KeptReply { fingerprint, sealed: row.reply })
        });
        kept.transpose()
    }

    async fn upsert(&mut self, key: &IdempotencyKey, reply: &KeptReply, now: Timestamp) -> Result<()> {
        sqlx::query!(
            "INSERT INTO idempotency_keys (key, fingerprint, reply, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (organization_id, user_id, key) DO UPDATE
                SET fingerprint = excluded.fingerprint, reply = excluded.reply, created_at = excluded.created_at",
            key.as_str(),
            reply.fingerprint.as_slice(),
            reply.sealed,
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }
}

#[async_trait]
impl OldRepliesRepo for PgSystemTx {
    async fn delete_before(&mut self, moment: Timestamp) -> Result<u64> {
        let done = sqlx::query!("DELETE FROM idempotency_keys WHERE created_at <= $1", moment)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(done.rows_affected())
    }
}
