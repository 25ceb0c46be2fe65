//! The outbox.

use async_trait::async_trait;

use super::errors::translate;
use super::tx::{PgSystemTx, PgTenantTx};
use crate::domain::ids::MailId;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ports::mails::{MailRepo, Outbox, QueuedMail};

#[async_trait]
impl Outbox for PgTenantTx {
    async fn put(&mut self, id: MailId, sealed: &[u8], now: Timestamp) -> Result<()> {
        sqlx::query!("SELECT app.enqueue_mail($1, $2, $3)", id.0, sealed, now)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(())
    }
}

#[async_trait]
impl Outbox for PgSystemTx {
    async fn put(&mut self, id: MailId, sealed: &[u8], now: Timestamp) -> Result<()> {
        sqlx::query!("INSERT INTO mail_outbox (id, sealed, created_at) VALUES ($1, $2, $3)", id.0, sealed, now)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        sqlx::query!("SELECT app.enqueue_mail_job($1)", id.0).execute(self.conn()).await.map_err(translate)?;
        Ok(())
    }
}

#[async_trait]
impl MailRepo for PgSystemTx {
    async fn find(&mut self, id: MailId) -> Result<Option<QueuedMail>> {
        let row = sqlx::query!("SELECT sealed, attempts FROM mail_outbox WHERE id = $1 AND dead_at IS NULL", id.0)
            .fetch_optional(self.conn())
            .await
            .map_err(translate)?;
        Ok(row.map(|row| QueuedMail { sealed: row.sealed.unwrap_or_default(), attempts: row.attempts }))
    }

    async fn delete(&mut self, id: MailId) -> Result<()> {
        sqlx::query!("DELETE FROM mail_outbox WHERE id = $1", id.0).execute(self.conn()).await.map_err(translate)?;
        Ok(())
    }

    async fn note_failure(&mut self, id: MailId, dead_at: Option<Timestamp>) -> Result<()> {
        sqlx::query!(
            "UPDATE mail_outbox
                SET attempts = attempts + 1, dead_at = $2,
                    sealed = CASE WHEN $2::timestamptz IS NULL THEN sealed END
              WHERE id = $1 AND dead_at IS NULL",
            id.0,
            dead_at,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }

    async fn purge(&mut self, before: Timestamp) -> Result<()> {
        sqlx::query!("DELETE FROM mail_outbox WHERE dead_at < $1", before)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(())
    }
}
