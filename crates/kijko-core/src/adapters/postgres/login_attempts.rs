//! Attempts to sign in, and the count of wrong passwords.

use async_trait::async_trait;

use super::errors::translate;
use super::tx::PgSystemTx;
use crate::domain::ids::LoginAttemptId;
use crate::domain::login_attempts::{AccountHash, Failures, LoginAttempt, LoginStatus};
use crate::domain::sessions::Origin;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ports::login_attempts::LoginAttemptRepo;

fn failures(count: i32, last_at: Timestamp) -> Failures {
    Failures { count: count.unsigned_abs(), last_at }
}

#[async_trait]
impl LoginAttemptRepo for PgSystemTx {
    async fn failures(&mut self, account: &AccountHash) -> Result<Option<Failures>> {
        let row = sqlx::query!(
            "SELECT failures, last_failed_at FROM login_locks WHERE account_hash = $1",
            account.0.as_slice(),
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        Ok(row.map(|row| failures(row.failures, row.last_failed_at)))
    }

    async fn add_failure(&mut self, account: &AccountHash, now: Timestamp, forgotten: Timestamp) -> Result<Failures> {
        let row = sqlx::query!(
            "INSERT INTO login_locks AS l (account_hash, failures, last_failed_at) VALUES ($1, 1, $2)
             ON CONFLICT (account_hash) DO UPDATE
                SET failures = CASE WHEN l.last_failed_at < $3 THEN 1 ELSE l.failures + 1 END,
                    last_failed_at = greatest(l.last_failed_at, $2)
             RETURNING failures, last_failed_at",
            account.0.as_slice(),
            now,
            forgotten,
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)?;
        Ok(failures(row.failures, row.last_failed_at))
    }

    async fn clear_failures(&mut self, account: &AccountHash) -> Result<()> {
        sqlx::query!("DELETE FROM login_locks WHERE account_hash = $1", account.0.as_slice())
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(())
    }

    async fn delete_failures_before(&mut self, moment: Timestamp) -> Result<u64> {
        let done = sqlx::query!("DELETE FROM login_locks WHERE last_failed_at < $1", moment)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(done.rows_affected())
    }

    async fn purge(&mut self, before: Timestamp) -> Result<()> {
        sqlx::query!("DELETE FROM login_history WHERE created_at < $1", before)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(())
    }

    async fn insert(&mut self, id: LoginAttemptId, attempt: &LoginAttempt, origin: &Origin) -> Result<()> {
        let status = attempt.failure.map_or(LoginStatus::Success, |reason| reason.status());
        sqlx::query!(
            "INSERT INTO login_history
                 (id, organization_id, user_id, status, auth_method, failure_reason, ip, user_agent, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7::text::inet, $8, $9)",
            id.0,
            attempt.organization_id.map(|id| id.0),
            attempt.user_id.map(|id| id.0),
            status.as_str(),
            attempt.auth_method.as_str(),
            attempt.failure.map(|reason| reason.as_str()),
            origin.address.to_string(),
            origin.user_agent,
            attempt.at,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }
}
