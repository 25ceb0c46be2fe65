//! Executions and tests on their way from the queue to their end: one table each, and one way to see those that nobody
//! carries.

use async_trait::async_trait;
use sqlx::types::Uuid;

use super::errors::translate;
use super::tx::{PgSystemTx, PgTenantTx};
use crate::domain::ids::ExecutionId;
use crate::domain::jobs::Workplace;
use crate::domain::runs::RunId;
use crate::domain::test_runs::TestRunId;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ports::runs::{ActiveRun, ActiveRunRepo, RunRepo, Transition};

#[async_trait]
impl RunRepo for PgTenantTx {
    async fn enqueue(&mut self, run: RunId, place: &Workplace) -> Result<()> {
        match run {
            RunId::Execution(id) => self.enqueue_execution(id, place).await,
            RunId::Test(id) => self.enqueue_test(id, place).await,
        }
    }

    async fn change(&mut self, run: RunId, transition: &Transition, now: Timestamp) -> Result<bool> {
        match run {
            RunId::Execution(id) => self.change_execution(id, transition, now).await,
            RunId::Test(id) => self.change_test(id, transition, now).await,
        }
    }
}

struct Row {
    organization_id: Uuid,
    user_id: Uuid,
    id: Uuid,
    is_test: bool,
}

impl From<Row> for ActiveRun {
    fn from(row: Row) -> Self {
        let id = match row.is_test {
            true => RunId::Test(TestRunId(row.id)),
            false => RunId::Execution(ExecutionId(row.id)),
        };
        Self { organization_id: row.organization_id.into(), user_id: row.user_id.into(), id }
    }
}

fn active(rows: Vec<Row>) -> Vec<ActiveRun> {
    rows.into_iter().map(ActiveRun::from).collect()
}

#[async_trait]
impl ActiveRunRepo for PgSystemTx {
    async fn lapsed(&mut self, now: Timestamp, limit: i64) -> Result<Vec<ActiveRun>> {
        let rows = sqlx::query_as!(
            Row,
            r#"(SELECT organization_id AS "organization_id!", user_id AS "user_id!", id AS "id!", false AS "is_test!"
                  FROM skill_executions
                 WHERE status = 'running' AND lease_expires_at < $1 ORDER BY lease_expires_at LIMIT $2)
               UNION ALL
               (SELECT organization_id, user_id, id, true FROM skill_transient_runs
                 WHERE status = 'running' AND lease_expires_at < $1 ORDER BY lease_expires_at LIMIT $2)"#,
            now,
            limit,
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        Ok(active(rows))
    }

    async fn left_behind(&mut self, limit: i64) -> Result<Vec<ActiveRun>> {
        let rows = sqlx::query_as!(
            Row,
            r#"SELECT e.organization_id, e.user_id, e.id, false AS "is_test!" FROM skill_executions e
                WHERE e.status = 'pending'
                  AND NOT EXISTS (SELECT FROM organization_members m
                                   WHERE m.organization_id = e.organization_id AND m.user_id = e.user_id
                                     AND m.status = 'active')
                ORDER BY e.executed_at LIMIT $1"#,
            limit,
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        Ok(active(rows))
    }

    async fn stranded(&mut self, before: Timestamp, limit: i64) -> Result<Vec<ActiveRun>> {
        // Not a checked query: the engine's tables are made by its own migrations, in its own schema.
        let rows: Vec<(Uuid, Uuid, Uuid, bool)> = sqlx::query_as(
            "(SELECT e.organization_id, e.user_id, e.id, false FROM skill_executions e
               WHERE e.status = 'pending' AND e.executed_at < $1
                 AND NOT EXISTS (SELECT FROM graphile_worker._private_jobs j
                                  WHERE j.key = app.execution_job_key(e.organization_id, e.id)
                                    AND j.attempts < j.max_attempts)
               ORDER BY e.executed_at LIMIT $2)
             UNION ALL
             (SELECT t.organization_id, t.user_id, t.id, true FROM skill_transient_runs t
               WHERE t.status = 'pending' AND t.created_at < $1
                 AND NOT EXISTS (SELECT FROM graphile_worker._private_jobs j
                                  WHERE j.key = app.transient_run_job_key(t.organization_id, t.id)
                                    AND j.attempts < j.max_attempts)
               ORDER BY t.created_at LIMIT $2)",
        )
        .bind(before)
        .bind(limit)
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        let row = |(organization_id, user_id, id, is_test)| Row { organization_id, user_id, id, is_test };
        Ok(active(rows.into_iter().map(row).collect()))
    }
}
