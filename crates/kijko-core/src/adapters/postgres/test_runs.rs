//! Tests of skills.

use async_trait::async_trait;
use rust_decimal::Decimal;
use sqlx::types::{Json, Uuid};

use super::errors::translate;
use super::tx::{PgSystemTx, PgTenantTx};
use crate::domain::executions::{Ending, ExecutionStatus, ModelCall};
use crate::domain::jobs::Workplace;
use crate::domain::models::KeySource;
use crate::domain::test_runs::{KEPT, NewTestRun, TestQuestion, TestResult, TestRun, TestRunId};
use crate::domain::time::Timestamp;
use crate::domain::usage::month;
use crate::error::{Error, Result};
use crate::ports::runs::Transition;
use crate::ports::test_runs::{OldTestRunRepo, TestRunRepo};

/// What the organisation's own key paid for is no cost of ours.
fn cost(call: Option<&ModelCall>) -> Option<Decimal> {
    call.filter(|call| call.key_source != KeySource::Own).and_then(|call| call.usage).map(|(_, cost)| cost.usd)
}

impl PgTenantTx {
    async fn end_test(
        &mut self,
        id: TestRunId,
        from: &[ExecutionStatus],
        lapsed_before: Option<Timestamp>,
        ending: &Ending,
        now: Timestamp,
    ) -> Result<bool> {
        let from: Vec<String> = from.iter().map(|status| status.as_str().to_owned()).collect();
        // Locked before it is looked at, so that nobody ends it in between.
        let row = sqlx::query!(
            "SELECT started_at, created_at, skill_id, reserved_usd FROM skill_transient_runs
              WHERE id = $1 AND status = ANY ($2) AND ($3::timestamptz IS NULL OR lease_expires_at < $3) FOR UPDATE",
            id.0,
            &from,
            lapsed_before,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        let Some(row) = row else { return Ok(false) };
        let usage = ending.call.as_ref().and_then(|call| call.usage).map(|(usage, _)| usage);
        let result = TestResult::new(&ending.outcome, usage, row.started_at.map(|started| now - started));
        sqlx::query!(
            "UPDATE skill_transient_runs
                SET status = $2, result = $3, payload = NULL, lease_expires_at = NULL, expires_at = $4,
                    reserved_usd = NULL, cost_usd = $5
              WHERE id = $1",
            id.0,
            ending.outcome.status().as_str(),
            Json(&result) as _,
            now + KEPT,
            cost(ending.call.as_ref()),
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        let reserved = row.reserved_usd.unwrap_or_default();
        self.settle_test(row.skill_id, row.created_at, reserved, cost(ending.call.as_ref())).await?;
        Ok(true)
    }

    /// What the call of a test had cost that was taken for lost while it still went on.
    async fn record_cost_of_test(&mut self, id: TestRunId, call: &ModelCall) -> Result<bool> {
        let row = sqlx::query!(
            "UPDATE skill_transient_runs SET cost_usd = $2 WHERE id = $1 AND status = 'failed' AND cost_usd IS NULL
             RETURNING skill_id, created_at",
            id.0,
            cost(Some(call)),
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        let Some(row) = row else { return Ok(false) };
        self.settle_test(row.skill_id, row.created_at, Decimal::ZERO, cost(Some(call))).await?;
        Ok(true)
    }

    async fn settle_test(
        &mut self,
        skill: Option<Uuid>,
        created_at: Timestamp,
        reserved: Decimal,
        cost: Option<Decimal>,
    ) -> Result<()> {
        sqlx::query!(
            "SELECT app.settle_cost($1, $2, $3, $4)",
            skill,
            month(created_at.date_naive()).0,
            reserved,
            cost.unwrap_or_default(),
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }

    pub(super) async fn enqueue_test(&mut self, id: TestRunId, place: &Workplace) -> Result<()> {
        sqlx::query!("SELECT app.enqueue_transient_run($1, $2)", id.0, place.model())
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(())
    }

    pub(super) async fn change_test(&mut self, id: TestRunId, transition: &Transition, now: Timestamp) -> Result<bool> {
        let done = match transition {
            Transition::Claim { lease_expires_at, .. } => {
                sqlx::query!(
                    "UPDATE skill_transient_runs SET status = 'running', started_at = $2, lease_expires_at = $3
                      WHERE id = $1 AND status = 'pending'",
                    id.0,
                    now,
                    *lease_expires_at,
                )
                .execute(self.conn())
                .await
            }
            Transition::Renew { lease_expires_at } => {
                sqlx::query!(
                    "UPDATE skill_transient_runs SET lease_expires_at = $2 WHERE id = $1 AND status = 'running'",
                    id.0,
                    *lease_expires_at,
                )
                .execute(self.conn())
                .await
            }
            Transition::End { from, ending } => return self.end_test(id, from, None, ending, now).await,
            Transition::EndLapsed { ending } => {
                return self.end_test(id, &[ExecutionStatus::Running], Some(now), ending, now).await;
            }
            Transition::RecordUsage { call } => return self.record_cost_of_test(id, call).await,
        };
        Ok(done.map_err(translate)?.rows_affected() == 1)
    }
}

#[async_trait]
impl TestRunRepo for PgTenantTx {
    async fn find(&mut self, id: TestRunId, now: Timestamp) -> Result<Option<TestRun>> {
        let row = sqlx::query!(
            r#"SELECT status, result AS "result: Json<TestResult>" FROM skill_transient_runs
                WHERE id = $1 AND (expires_at > $2 OR status IN ('pending', 'running'))"#,
            id.0,
            now,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        let test = row.map(|row| {
            let unknown = |what: String| Error::internal("reading a test", what);
            let status = ExecutionStatus::parse(&row.status).ok_or_else(|| unknown(row.status))?;
            Ok(TestRun { execution_id: id, status, result: row.result.map(|Json(result)| result).unwrap_or_default() })
        });
        test.transpose()
    }

    async fn question(&mut self, id: TestRunId) -> Result<Option<TestQuestion>> {
        let row = sqlx::query_scalar!(
            r#"SELECT payload AS "payload!: Json<TestQuestion>" FROM skill_transient_runs
                WHERE id = $1 AND status = 'pending'"#,
            id.0,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        Ok(row.map(|Json(question)| question))
    }

    async fn insert(&mut self, test: &NewTestRun, place: &Workplace) -> Result<()> {
        sqlx::query!(
            "INSERT INTO skill_transient_runs (id, payload, skill_id, reserved_usd, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
            test.id.0,
            Json(&test.question) as _,
            test.skill_id.map(|skill| skill.0),
            test.reserved_usd,
            test.created_at,
            test.created_at + KEPT,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        self.enqueue_test(test.id, place).await
    }
}

#[async_trait]
impl OldTestRunRepo for PgSystemTx {
    async fn delete_expired(&mut self, now: Timestamp) -> Result<u64> {
        let done = sqlx::query!(
            "DELETE FROM skill_transient_runs WHERE expires_at <= $1 AND status IN ('completed', 'failed')",
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(done.rows_affected())
    }
}
