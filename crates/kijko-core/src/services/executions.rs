//! Executions: ask for a run, look at runs, cancel one. `runs` does the running.

use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::context::{Permission, TenantContext};
use crate::domain::events::Event;
use crate::domain::executions::{
    Ending, ExecuteRequest, Execution, ExecutionAccepted, ExecutionStatus, ExecutionType, Failure, FailureCode,
    NewExecution, Outcome, RetryAccepted,
};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::{ExecutionId, SkillId};
use crate::domain::runs::RunId;
use crate::domain::skills::Skill;
use crate::domain::templates::{self, checked_input};
use crate::domain::usage::{Metered, Metric, Quota};
use crate::error::{Code, Error, Result};
use crate::ports::TenantTx;
use crate::ports::runs::Transition;
use crate::services::calls::{Call, Question};
use crate::services::idempotency::Once;
use crate::services::models::{self, Wish};
use crate::services::runs::{Carrier, Prepared};
use crate::services::{admission, programs, usage};

/// Writes a pending run and the job that carries it, together. The model is never called here.
/// Refuses, in this order, with `VALIDATION_ERROR`, `SKILL_NOT_FOUND`, `SKILL_INACTIVE`, `INVALID_INPUT`,
/// `MODEL_NOT_SUPPORTED`, `PROVIDER_NOT_CONFIGURED`, `TOO_MANY_ACTIVE_EXECUTIONS`, `QUOTA_EXCEEDED`,
/// `BUDGET_EXCEEDED`; with an idempotency
/// key that was used for another request, with `IDEMPOTENCY_CONFLICT`.
pub async fn execute(
    app: &App,
    ctx: &TenantContext,
    skill_id: SkillId,
    request: ExecuteRequest,
    key: Option<&IdempotencyKey>,
) -> Result<Metered<ExecutionAccepted>> {
    ctx.require(Permission::UseSkills)?;
    let once = Once::new(app, ctx, key, "execute_skill", &(skill_id, &request))?;
    let default_type = if ctx.uses_api_key() { ExecutionType::Api } else { ExecutionType::Manual };
    let id = ExecutionId(app.random.uuid());
    let execution = request.into_execution(id, skill_id, default_type, app.clock.now())?;
    let mut tx = app.store.tenant(ctx).await?;
    if let Some(reply) = once.replay(app, &mut *tx).await? {
        let quota = usage::standing(app, &mut *tx, Metric::ApiCalls).await?;
        return Ok(Metered { reply, quota });
    }
    let skill = tx.skills().find(skill_id).await?.ok_or(Error::not_found(Code::SkillNotFound))?;
    if !skill.is_active {
        return Err(Error::conflict(Code::SkillInactive));
    }
    let quota = admit(app, &mut *tx, &skill, &execution).await?;
    let reply = ExecutionAccepted { execution_id: id, status: ExecutionStatus::Pending };
    once.keep(app, &mut *tx, &reply).await?;
    tx.commit().await?;
    Ok(Metered { reply, quota })
}

/// What every run that somebody asks for must pass, whatever asked; then it waits for a worker.
/// Refuses, in this order, with `INVALID_INPUT`, `MODEL_NOT_SUPPORTED`, `PROVIDER_NOT_CONFIGURED`,
/// `TOO_MANY_ACTIVE_EXECUTIONS`, `QUOTA_EXCEEDED`, `BUDGET_EXCEEDED`.
async fn admit(app: &App, tx: &mut dyn TenantTx, skill: &Skill, execution: &NewExecution) -> Result<Quota> {
    // Habits and reflexes bring what they have, which is often nothing.
    if matches!(execution.execution_type, ExecutionType::Manual | ExecutionType::Api) {
        checked_input(skill.input_schema.as_deref().unwrap_or_default(), &execution.input)?;
    }
    let targets = models::targets(app, tx, Wish::from(skill)).await?;
    // A prompt that is too long costs nothing: its run will fail before anybody is asked.
    let worst_case = question(skill, &execution.input).map_or(Decimal::ZERO, |asked| asked.worst_case(&targets));
    let quota = admission::admit(app, tx, Some(skill.id), worst_case, execution.executed_at).await?;
    tx.executions().insert(execution, worst_case, &programs::workplace(&targets)).await?;
    Ok(quota)
}

/// Everything that is decided before the first attempt.
pub(crate) async fn prepare<'a>(
    app: &'a App,
    tx: &mut dyn TenantTx,
    id: ExecutionId,
    carrier: &Carrier,
) -> Result<Prepared<'a>> {
    let execution = tx.executions().find(id).await?.filter(|execution| execution.status == ExecutionStatus::Pending);
    let Some(execution) = execution else { return Ok(Prepared::Gone) };
    let skill = match execution.skill_id {
        Some(skill) => tx.skills().find(skill).await?,
        None => None,
    };
    let failed = |code, message: &str| Ok(Prepared::Failed(Failure::new(code, message)));
    let Some(skill) = skill else { return failed(FailureCode::SkillNotFound, "The skill does not exist any more") };
    if !skill.is_active {
        return failed(FailureCode::SkillInactive, "The skill is not active");
    }
    let targets = match models::targets(app, tx, Wish::from(&skill)).await {
        Ok(targets) => carrier.callable(app, targets),
        Err(refusal) => return carrier.refused(refusal),
    };
    let targets = match targets {
        Ok(targets) => targets,
        Err(place) => return Ok(Prepared::Misplaced(place)),
    };
    let question = match question(&skill, &execution.input) {
        Ok(question) => question,
        Err(failure) => return Ok(Prepared::Failed(failure)),
    };
    // The skill may have become dearer since the run was admitted.
    if !tx.executions().cover(id, question.worst_case(&targets)).await? {
        return failed(FailureCode::BudgetExceeded, "The budget of this month has not enough left for the run");
    }
    let call = Call::new(app, id.to_string(), question, targets);
    Ok(Prepared::Call(Box::new(call), Some(skill.version)))
}

/// What the model is asked for this input.
fn question(skill: &Skill, input: &Map<String, Value>) -> Result<Question, Failure> {
    let schema = skill.input_schema.as_deref().unwrap_or_default();
    let prompt = templates::render(&skill.prompt_template, schema, input).ok_or_else(|| {
        let most = templates::MAX_PROMPT_BYTES >> 20;
        Failure::new(FailureCode::BadRequest, format!("The prompt would be longer than {most} MiB"))
    })?;
    Ok(Question { system: None, prompt, parameters: skill.parameters.clone() })
}

/// Refuses with `EXECUTION_NOT_FOUND`.
pub async fn get(app: &App, ctx: &TenantContext, id: ExecutionId) -> Result<Execution> {
    ctx.require(Permission::ReadSkills)?;
    let mut tx = app.store.tenant(ctx).await?;
    tx.executions().find(id).await?.ok_or(Error::not_found(Code::ExecutionNotFound))
}

/// Ends a waiting or running run; a worker that is at it drops the call to the provider.
/// Refuses with `EXECUTION_NOT_FOUND`, and with `CANNOT_CANCEL` when the run has ended; with an idempotency key that was
/// used for another request, with `IDEMPOTENCY_CONFLICT`.
pub async fn cancel(app: &App, ctx: &TenantContext, id: ExecutionId, key: Option<&IdempotencyKey>) -> Result<()> {
    ctx.require(Permission::UseSkills)?;
    let once = Once::new(app, ctx, key, "cancel_execution", &id)?;
    let mut tx = app.store.tenant(ctx).await?;
    if let Some(()) = once.replay(app, &mut *tx).await? {
        return Ok(());
    }
    let failure = Failure::new(FailureCode::Cancelled, "Cancelled by the user");
    let end = Transition::End {
        from: &[ExecutionStatus::Pending, ExecutionStatus::Running],
        ending: Ending { outcome: Outcome::Cancelled(failure), call: None },
    };
    if !tx.runs().change(RunId::Execution(id), &end, app.clock.now()).await? {
        let execution = tx.executions().find(id).await?.ok_or(Error::not_found(Code::ExecutionNotFound))?;
        return Err(unfit(Code::CannotCancel, &execution));
    }
    tx.announce(&Event::ExecutionEnded { execution_id: id }).await?;
    once.keep(app, &mut *tx, &()).await?;
    tx.commit().await
}

/// Runs what failed or was cancelled once more, as a new run with the present definition of the skill.
/// Refuses, in this order, with `EXECUTION_NOT_FOUND`, `CANNOT_RETRY`, `SKILL_NOT_FOUND`, `SKILL_INACTIVE`, and as
/// `execute` does from `INVALID_INPUT` on; with an idempotency key that was used for another request, with
/// `IDEMPOTENCY_CONFLICT`.
pub async fn retry(
    app: &App,
    ctx: &TenantContext,
    id: ExecutionId,
    key: Option<&IdempotencyKey>,
) -> Result<Metered<RetryAccepted>> {
    ctx.require(Permission::UseSkills)?;
    let once = Once::new(app, ctx, key, "retry_execution", &id)?;
    let new_id = ExecutionId(app.random.uuid());
    let mut tx = app.store.tenant(ctx).await?;
    if let Some(reply) = once.replay(app, &mut *tx).await? {
        let quota = usage::standing(app, &mut *tx, Metric::ApiCalls).await?;
        return Ok(Metered { reply, quota });
    }
    let old = tx.executions().find(id).await?.ok_or(Error::not_found(Code::ExecutionNotFound))?;
    if !old.status.may_be_retried() {
        return Err(unfit(Code::CannotRetry, &old));
    }
    let skill = match old.skill_id {
        Some(skill) => tx.skills().find(skill).await?,
        None => None,
    };
    let skill = skill.ok_or(Error::not_found(Code::SkillNotFound))?;
    if !skill.is_active {
        return Err(Error::conflict(Code::SkillInactive));
    }
    let quota = admit(app, &mut *tx, &skill, &NewExecution::again(&old, skill.id, new_id, app.clock.now())).await?;
    let reply = RetryAccepted { new_execution_id: new_id, status: ExecutionStatus::Pending };
    once.keep(app, &mut *tx, &reply).await?;
    tx.commit().await?;
    Ok(Metered { reply, quota })
}

/// The execution is in a state in which this cannot be done.
fn unfit(code: Code, execution: &Execution) -> Error {
    Error::Conflict { code, field: None, details: Some(json!({ "status": execution.status })) }
}
