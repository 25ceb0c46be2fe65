//! Executions. Reading and adding go through the policies; every change goes through the functions of the schema `app`,
//! which hold the state machine.

use async_trait::async_trait;
use rust_decimal::Decimal;
use sqlx::FromRow;
use sqlx::types::{Json, Uuid};

use super::errors::translate;
use super::tx::PgTenantTx;
use crate::domain::executions::{
    Ending, Execution, ExecutionStatus, ExecutionType, Failure, ModelCall, NewExecution, Outcome,
};
use crate::domain::ids::{ExecutionId, SkillId};
use crate::domain::jobs::Workplace;
use crate::domain::models::KeySource;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ports::executions::ExecutionRepo;
use crate::ports::runs::Transition;

pub(super) const COLUMNS: &str = "id, skill_id, skill_version, user_id, execution_type, reference_id, input, output, prompt_tokens, \
     completion_tokens, duration_ms, cost_cents, provider, model, requested_model, key_source, status, error_message, \
     error_code, executed_at, completed_at";

#[derive(FromRow)]
pub(super) struct ExecutionRow {
    id: Uuid,
    skill_id: Option<Uuid>,
    skill_version: Option<i32>,
    user_id: Uuid,
    execution_type: String,
    reference_id: Option<Uuid>,
    input: Json<serde_json::Map<String, serde_json::Value>>,
    output: Option<String>,
    prompt_tokens: Option<i64>,
    completion_tokens: Option<i64>,
    duration_ms: Option<i64>,
    cost_cents: Option<i64>,
    provider: Option<String>,
    model: Option<String>,
    requested_model: Option<String>,
    key_source: Option<String>,
    status: String,
    error_message: Option<String>,
    error_code: Option<String>,
    executed_at: Timestamp,
    completed_at: Option<Timestamp>,
}

impl ExecutionRow {
    pub(super) fn skill_id(&self) -> Option<Uuid> {
        self.skill_id
    }
}

impl TryFrom<ExecutionRow> for Execution {
    type Error = Error;

    fn try_from(row: ExecutionRow) -> Result<Self> {
        let unknown = |what: String| Error::internal("reading an execution", what);
        Ok(Execution {
            id: row.id.into(),
            skill_id: row.skill_id.map(Into::into),
            skill_version: row.skill_version,
            user_id: row.user_id.into(),
            execution_type: ExecutionType::parse(&row.execution_type).ok_or_else(|| unknown(row.execution_type))?,
            reference_id: row.reference_id,
            input: row.input.0,
            output: row.output,
            tokens_used: row.prompt_tokens.zip(row.completion_tokens).map(|(prompt, completion)| prompt + completion),
            prompt_tokens: row.prompt_tokens,
            completion_tokens: row.completion_tokens,
            duration_ms: row.duration_ms,
            cost_cents: row.cost_cents,
            provider: row.provider,
            model: row.model,
            requested_model: row.requested_model,
            key_source: row.key_source.as_deref().and_then(KeySource::parse),
            status: ExecutionStatus::parse(&row.status).ok_or_else(|| unknown(row.status))?,
            error_message: row.error_message,
            error_code: row.error_code,
            executed_at: row.executed_at,
            completed_at: row.completed_at,
        })
    }
}

/// The columns of a model call, all absent when there was none.
#[derive(Default)]
struct CallColumns<'a> {
    prompt_tokens: Option<i64>,
    completion_tokens: Option<i64>,
    cost_cents: Option<i64>,
    cost_usd: Option<Decimal>,
    provider: Option<&'a str>,
    model: Option<&'a str>,
    requested_model: Option<&'a str>,
    key_source: Option<&'a str>,
    attempts: i16,
}

impl<'a> From<Option<&'a ModelCall>> for CallColumns<'a> {
    fn from(call: Option<&'a ModelCall>) -> Self {
        let Some(call) = call else { return Self::default() };
        let tokens = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let usage = call.usage;
        Self {
            prompt_tokens: usage.map(|(usage, _)| tokens(usage.prompt_tokens)),
            completion_tokens: usage.map(|(usage, _)| tokens(usage.completion_tokens)),
            cost_cents: usage.map(|(_, cost)| cost.cents),
            cost_usd: usage.map(|(_, cost)| cost.usd),
            provider: Some(call.provider),
            model: Some(&call.model),
            requested_model: call.requested_model.as_deref(),
            key_source: Some(call.key_source.as_str()),
            attempts: call.attempts,
        }
    }
}

impl PgTenantTx {
    /// Until this transaction ends, no other of the same user can begin a run. A lock of our own and not on a row,
    /// since the tenant role may update no row that stands for the user.
    async fn hold_back_others(&mut self) -> Result<()> {
        sqlx::query_scalar!(
            r#"SELECT pg_advisory_xact_lock(hashtextextended('executions:' || app.current_user_id()::text, 0))
                      IS NULL AS "locked!""#
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }

    async fn end_execution(
        &mut self,
        id: ExecutionId,
        from: &[ExecutionStatus],
        lapsed_before: Option<Timestamp>,
        ending: &Ending,
        now: Timestamp,
    ) -> Result<bool> {
        let from: Vec<String> = from.iter().map(|status| status.as_str().to_owned()).collect();
        let call = CallColumns::from(ending.call.as_ref());
        let (output, failure) = match &ending.outcome {
            Outcome::Completed { output } => (Some(output.as_str()), None),
            Outcome::Failed(failure) | Outcome::Cancelled(failure) => (None, Some(failure)),
        };
        sqlx::query_scalar!(
            r#"SELECT app.end_execution($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
                      AS "done!""#,
            id.0,
            &from,
            lapsed_before,
            ending.outcome.status().as_str(),
            now,
            output,
            call.prompt_tokens,
            call.completion_tokens,
            call.cost_cents,
            call.cost_usd,
            call.provider,
            call.model,
            call.requested_model,
            call.key_source,
            call.attempts,
            failure.map(|failure| failure.code.as_str()),
            failure.map(|failure| failure.message.as_str()),
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)
    }

    pub(super) async fn enqueue_execution(&mut self, id: ExecutionId, place: &Workplace) -> Result<()> {
        sqlx::query!("SELECT app.enqueue_execution($1, $2)", id.0, place.model())
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(())
    }

    pub(super) async fn change_execution(
        &mut self,
        id: ExecutionId,
        transition: &Transition,
        now: Timestamp,
    ) -> Result<bool> {
        match transition {
            Transition::Claim { skill_version, lease_expires_at } => sqlx::query_scalar!(
                r#"SELECT app.claim_execution($1, $2, $3, $4) AS "done!""#,
                id.0,
                *skill_version,
                now,
                *lease_expires_at,
            )
            .fetch_one(self.conn())
            .await
            .map_err(translate),
            Transition::Renew { lease_expires_at } => {
                sqlx::query_scalar!(r#"SELECT app.renew_execution($1, $2) AS "done!""#, id.0, *lease_expires_at)
                    .fetch_one(self.conn())
                    .await
                    .map_err(translate)
            }
            Transition::End { from, ending } => self.end_execution(id, from, None, ending, now).await,
            Transition::EndLapsed { ending } => {
                self.end_execution(id, &[ExecutionStatus::Running], Some(now), ending, now).await
            }
            Transition::RecordUsage { call } => {
                let call = CallColumns::from(Some(call));
                sqlx::query_scalar!(
                    r#"SELECT app.record_usage($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS "done!""#,
                    id.0,
                    call.prompt_tokens,
                    call.completion_tokens,
                    call.cost_cents,
                    call.cost_usd,
                    call.provider,
                    call.model,
                    call.requested_model,
                    call.key_source,
                    call.attempts,
                )
                .fetch_one(self.conn())
                .await
                .map_err(translate)
            }
        }
    }
}

#[async_trait]
impl ExecutionRepo for PgTenantTx {
    async fn find(&mut self, id: ExecutionId) -> Result<Option<Execution>> {
        let row = sqlx::query_as!(
            ExecutionRow,
            r#"SELECT id, skill_id, skill_version, user_id, execution_type, reference_id,
                      input AS "input: Json<serde_json::Map<String, serde_json::Value>>", output,
                      prompt_tokens, completion_tokens, duration_ms, cost_cents, provider, model, requested_model,
                      key_source, status, error_message, error_code, executed_at, completed_at
                 FROM skill_executions WHERE id = $1"#,
            id.0,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        row.map(Execution::try_from).transpose()
    }

    async fn count_active(&mut self) -> Result<i64> {
        self.hold_back_others().await?;
        sqlx::query_scalar!(
            r#"SELECT (SELECT count(*) FROM skill_executions WHERE status IN ('pending', 'running'))
                    + (SELECT count(*) FROM skill_transient_runs WHERE status IN ('pending', 'running')) AS "count!""#
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)
    }

    async fn cancel_of(&mut self, skills: &[SkillId], why: &Failure, now: Timestamp) -> Result<Vec<ExecutionId>> {
        self.hold_back_others().await?;
        let ids = sqlx::query_scalar!(
            r#"SELECT active.id AS "id!"
                 FROM (SELECT id FROM skill_executions
                        WHERE skill_id = ANY($1) AND status IN ('pending', 'running') ORDER BY id) active
                WHERE app.end_execution(active.id, '{pending,running}', NULL, 'cancelled', $2, NULL, NULL, NULL, NULL,
                                        NULL, NULL, NULL, NULL, NULL, 0::smallint, $3, $4)"#,
            &super::skills::uuids(skills),
            now,
            why.code.as_str(),
            why.message,
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        Ok(ids.into_iter().map(ExecutionId).collect())
    }

    async fn insert(&mut self, execution: &NewExecution, reserved_usd: Decimal, place: &Workplace) -> Result<()> {
        sqlx::query!(
            "INSERT INTO skill_executions
                 (id, skill_id, execution_type, input, reserved_usd, executed_at, reference_id, retry_of)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            execution.id.0,
            execution.skill_id.0,
            execution.execution_type.as_str(),
            Json(&execution.input) as _,
            reserved_usd,
            execution.executed_at,
            execution.reference_id,
            execution.retry_of.map(|id| id.0),
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        self.enqueue_execution(execution.id, place).await
    }

    async fn cover(&mut self, id: ExecutionId, worst_case: Decimal) -> Result<bool> {
        sqlx::query_scalar!(r#"SELECT app.cover_execution($1, $2) AS "done!""#, id.0, worst_case)
            .fetch_one(self.conn())
            .await
            .map_err(translate)
    }
}
