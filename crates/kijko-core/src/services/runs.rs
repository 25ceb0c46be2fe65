//! One run of a skill, from the claim to the end.
//!
//! Claim and commit, call the model with nothing open (`calls`), then write the end. The claim is what makes a run
//! happen at most once: a run whose worker is lost fails, because the provider may already have charged for it.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::app::App;
use crate::context::TenantContext;
use crate::domain::events::Event;
use crate::domain::executions::{Ending, Execution, ExecutionStatus, Failure, FailureCode, ModelCall, Outcome};
use crate::domain::ids::ExecutionId;
use crate::domain::jobs::Workplace;
use crate::domain::skills::Skill;
use crate::domain::templates;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ports::events::Heard;
use crate::ports::executions::{ActiveExecution, Transition};
use crate::ports::{SystemTask, TenantTx};
use crate::services::calls::{Call, Question, lost};
use crate::services::models::{self, Wish};
use crate::services::worker::Worker;

/// For this long a finished result is kept and offered to a database that is away.
const PATIENCE_FOR_RESULTS: Duration = Duration::from_secs(300);

/// Runs a pending execution; finds nothing to do if it is not pending any more.
/// An error means that nothing was called and the job may be tried again.
pub(crate) async fn run(app: &App, ctx: &TenantContext, id: ExecutionId, worker: &Worker) -> Result<()> {
    // Heard from before the claim, so that no cancellation falls between.
    let heard = app.events.subscribe();
    let Some(mut call) = claim(app, ctx, id, worker).await? else { return Ok(()) };
    let outcome = tokio::select! {
        outcome = call.make(&worker.abandon) => Some(outcome),
        () = ended_elsewhere(app, ctx, id, heard) => None,
    };
    let call = call.cost();
    persist(&id, || Box::pin(write_end(app, ctx, id, outcome.clone(), &call))).await;
    Ok(())
}

/// pending → running, or → failed if it cannot run at all. None when there is nothing to run, or others must do it.
async fn claim<'a>(app: &'a App, ctx: &TenantContext, id: ExecutionId, worker: &Worker) -> Result<Option<Call<'a>>> {
    let mut tx = app.store.tenant(ctx).await?;
    let Some(execution) = tx.executions().find(id).await? else { return Ok(None) };
    let skill = match execution.skill_id {
        Some(skill) => tx.skills().find(skill).await?,
        None => None,
    };
    let now = app.clock.now();
    let skill_version = skill.as_ref().map(|skill| skill.version);
    let prepared = match prepare(app, &mut *tx, skill, &execution).await? {
        // The skill may have got another model since.
        Ok(call) if !worker.takes(&call.workplace()) => {
            tx.executions().enqueue(id, &call.workplace()).await?;
            tx.commit().await?;
            return Ok(None);
        }
        // The skill may have become dearer since the run was admitted.
        Ok(call) if !tx.executions().cover(id, call.worst_case()).await? => {
            Err(Failure::new(FailureCode::BudgetExceeded, "The budget of this month has not enough left for the run"))
        }
        prepared => prepared,
    };
    let (call, transition) = match prepared {
        Ok(call) => (Some(call), Transition::Claim { skill_version, lease_expires_at: lease(app, now) }),
        Err(failure) => {
            let ending = Ending { outcome: Outcome::Failed(failure), call: None };
            (None, Transition::End { from: &[ExecutionStatus::Pending], ending })
        }
    };
    let is_ours = tx.executions().change(id, &transition, now).await?;
    tx.commit().await?;
    Ok(call.filter(|_| is_ours))
}

/// Everything that is decided before the first attempt.
async fn prepare<'a>(
    app: &'a App,
    tx: &mut dyn TenantTx,
    skill: Option<Skill>,
    execution: &Execution,
) -> Result<Result<Call<'a>, Failure>> {
    let Some(skill) = skill else {
        return Ok(Err(Failure::new(FailureCode::SkillNotFound, "The skill does not exist any more")));
    };
    if !skill.is_active {
        return Ok(Err(Failure::new(FailureCode::SkillInactive, "The skill is not active")));
    }
    let targets = match models::targets(app, tx, Wish::from(&skill)).await {
        Ok(targets) => targets,
        Err(error) => return models::failure(error).map(Err),
    };
    let question = question(&skill, &execution.input);
    Ok(question.map(|question| Call::new(app, execution.id.to_string(), question, targets)))
}

/// What the model is asked for this input.
pub(super) fn question(skill: &Skill, input: &Map<String, Value>) -> Result<Question, Failure> {
    let schema = skill.input_schema.as_deref().unwrap_or_default();
    let prompt = templates::render(&skill.prompt_template, schema, input).ok_or_else(|| {
        let most = templates::MAX_PROMPT_BYTES >> 20;
        Failure::new(FailureCode::BadRequest, format!("The prompt would be longer than {most} MiB"))
    })?;
    Ok(Question { system: None, prompt, parameters: skill.parameters.clone() })
}

pub(super) fn lease(app: &App, now: Timestamp) -> Timestamp {
    now + app.config.runs.lease
}

/// Returns when the run is not ours any more: cancelled, or its skill deleted. Renews the lease until then.
async fn ended_elsewhere(app: &App, ctx: &TenantContext, id: ExecutionId, mut heard: broadcast::Receiver<Heard>) {
    let period = app.config.runs.lease / 4;
    // The claim was the first.
    let mut renewal = tokio::time::interval_at(Instant::now() + period, period);
    loop {
        tokio::select! {
            _ = renewal.tick() => {}
            message = heard.recv() => match message {
                Ok(Heard::Event(Event::ExecutionEnded { execution_id })) if execution_id == id => {}
                Ok(Heard::Event(_)) => continue,
                // Something may have been missed: look.
                Ok(Heard::Lost) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
            },
        }
        match renew(app, ctx, id).await {
            Ok(true) => {}
            Ok(false) => return,
            // The call goes on: its result may still find a database.
            Err(error) => tracing::warn!(error = error.internal_text(), "the lease of a run could not be renewed"),
        }
    }
}

async fn renew(app: &App, ctx: &TenantContext, id: ExecutionId) -> Result<bool> {
    let now = app.clock.now();
    let mut tx = app.store.tenant(ctx).await?;
    let running = tx.executions().change(id, &Transition::Renew { lease_expires_at: lease(app, now) }, now).await?;
    tx.commit().await?;
    Ok(running)
}

/// Writes an end. What was paid for is not given up because the database is away for a moment.
pub(super) async fn persist<'a>(
    id: &(dyn std::fmt::Display + Sync),
    write_end: impl Fn() -> BoxFuture<'a, Result<()>> + Send + Sync,
) {
    let deadline = Instant::now() + PATIENCE_FOR_RESULTS;
    loop {
        match write_end().await {
            Err(error) if error.is_retryable() && Instant::now() < deadline => {
                tracing::warn!(error = error.internal_text(), "the end of a run could not be written; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => {
                // The job must not be tried again: the lease will lapse, and the run ends as lost.
                tracing::error!(error = error.internal_text(), execution_id = %id, "the end of a run is lost");
                return;
            }
            Ok(()) => return,
        }
    }
}

async fn write_end(
    app: &App,
    ctx: &TenantContext,
    id: ExecutionId,
    outcome: Option<Outcome>,
    call: &ModelCall,
) -> Result<()> {
    let now = app.clock.now();
    let mut tx = app.store.tenant(ctx).await?;
    let ended = match outcome {
        Some(outcome) => {
            let ending = Ending { outcome, call: Some(call.clone()) };
            tx.executions().change(id, &Transition::End { from: &[ExecutionStatus::Running], ending }, now).await?
        }
        None => false,
    };
    if !ended {
        // Somebody was first. Their status stands; what the call had cost is still true.
        tx.executions().change(id, &Transition::RecordUsage { call: call.clone() }, now).await?;
    }
    tx.commit().await
}

/// What a run needs that nobody carries on.
#[derive(Clone, Copy)]
enum Rescue {
    /// Its worker is gone.
    End,
    /// Whoever asked for it works here no more.
    Cancel,
    /// It has no job.
    Enqueue,
}

/// Ends runs whose worker is gone, cancels waiting runs of who was removed, and gives waiting runs a job that have none.
/// Returns how many were touched. Without `judge`, workers that are silent are left alone: after an outage all of them are.
pub(crate) async fn sweep(app: &App, judge: bool) -> Result<usize> {
    const AT_A_TIME: i64 = 200;
    let now = app.clock.now();
    let mut tx = app.store.system(SystemTask::SweepExecutions).await?;
    let lapsed = if judge { tx.executions().lapsed(now, AT_A_TIME).await? } else { Vec::new() };
    let left_behind = tx.executions().left_behind(AT_A_TIME).await?;
    let stranded = tx.executions().stranded(now - app.config.runs.lease, AT_A_TIME).await?;
    drop(tx);
    let mut touched = 0;
    let found = [(lapsed, Rescue::End), (left_behind, Rescue::Cancel), (stranded, Rescue::Enqueue)];
    let found = found.into_iter().flat_map(|(runs, needed)| runs.into_iter().map(move |run| (run, needed)));
    for (run, needed) in found.collect::<Vec<_>>() {
        match rescue(app, &run, needed, now).await {
            Ok(done) => touched += usize::from(done),
            // The others are not to wait for this one.
            Err(error) => tracing::warn!(error = error.internal_text(), id = %run.id, "a run could not be rescued"),
        }
    }
    Ok(touched)
}

async fn rescue(app: &App, run: &ActiveExecution, needed: Rescue, now: Timestamp) -> Result<bool> {
    let ctx = super::identity::for_job(run.organization_id, run.user_id);
    let mut tx = app.store.tenant(&ctx).await?;
    let done = match needed {
        Rescue::End => {
            let ending = Ending { outcome: Outcome::Failed(lost()), call: None };
            tx.executions().change(run.id, &Transition::EndLapsed { ending }, now).await?
        }
        Rescue::Cancel => {
            let failure = Failure::new(FailureCode::Cancelled, "Cancelled because its owner left the organisation");
            let ending = Ending { outcome: Outcome::Cancelled(failure), call: None };
            let end = Transition::End { from: &[ExecutionStatus::Pending], ending };
            tx.announce(&Event::ExecutionEnded { execution_id: run.id }).await?;
            tx.executions().change(run.id, &end, now).await?
        }
        Rescue::Enqueue => {
            tx.executions().enqueue(run.id, &Workplace::Anywhere).await?;
            true
        }
    };
    tx.commit().await?;
    Ok(done)
}
