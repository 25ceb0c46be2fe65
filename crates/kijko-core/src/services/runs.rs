//! One run of a skill, from the claim to the end. The only retry layer there is.
//!
//! Claim and commit, call the model with nothing open, then write the end. The claim is what makes a run happen at
//! most once: a run whose worker is lost fails, because the provider may already have charged for it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::context::TenantContext;
use crate::domain::events::Event;
use crate::domain::executions::{Ending, Execution, ExecutionStatus, Failure, FailureCode, ModelCall, Outcome};
use crate::domain::ids::ExecutionId;
use crate::domain::models::ModelRoute;
use crate::domain::money::Usage;
use crate::domain::skills::{Parameters, Skill};
use crate::domain::templates;
use crate::domain::time::Timestamp;
use crate::error::{Code, Result};
use crate::ports::SystemTask;
use crate::ports::events::Heard;
use crate::ports::executions::{ActiveExecution, Transition};
use crate::ports::models::{ModelError, ModelEvent, ModelProvider, ModelRequest};

/// After the first attempt.
const RETRIES: u32 = 3;
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
/// For this long a finished result is kept and offered to a database that is away.
const PATIENCE_FOR_RESULTS: Duration = Duration::from_secs(300);
const DEFAULT_MAX_TOKENS: u32 = 4096;

/// Runs a pending execution; finds nothing to do if it is not pending any more.
/// An error means that nothing was called and the job may be tried again.
pub(crate) async fn run(app: &App, ctx: &TenantContext, id: ExecutionId, abandon: &CancellationToken) -> Result<()> {
    // Heard from before the claim, so that no cancellation falls between.
    let heard = app.events.subscribe();
    let Some(mut call) = claim(app, ctx, id).await? else { return Ok(()) };
    let started = Instant::now();
    let outcome = tokio::select! {
        outcome = call.make(started) => Some(outcome),
        () = ended_elsewhere(app, ctx, id, heard) => None,
        () = tokio::time::sleep(app.config.runs.hard_limit) => Some(Outcome::Failed(Failure::new(
            FailureCode::ExecutionTimeout,
            format!("The run took longer than {} seconds", app.config.runs.hard_limit.as_secs()),
        ))),
        () = abandon.cancelled() => Some(Outcome::Failed(lost())),
    };
    finish(app, ctx, id, outcome, call.cost()).await
}

/// The run of a worker that did not come back.
pub(crate) fn lost() -> Failure {
    Failure::new(
        FailureCode::WorkerLost,
        "The run was interrupted and not repeated, since it may already have been charged",
    )
}

/// pending → running, or → failed if it cannot run at all. None when there is nothing to run.
async fn claim<'a>(app: &'a App, ctx: &TenantContext, id: ExecutionId) -> Result<Option<Call<'a>>> {
    let mut tx = app.store.tenant(ctx).await?;
    let Some(execution) = tx.executions().find(id).await? else { return Ok(None) };
    let skill = match execution.skill_id {
        Some(skill) => tx.skills().find(skill).await?,
        None => None,
    };
    let now = app.clock.now();
    let (call, transition) = match prepare(app, skill, &execution) {
        Ok(call) => (Some(call), Transition::Claim { lease_expires_at: lease(app, now) }),
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
fn prepare<'a>(app: &'a App, skill: Option<Skill>, execution: &Execution) -> Result<Call<'a>, Failure> {
    let skill = skill.ok_or_else(|| Failure::new(FailureCode::SkillNotFound, "The skill does not exist any more"))?;
    if !skill.is_active {
        return Err(Failure::new(FailureCode::SkillInactive, "The skill is not active"));
    }
    let (route, provider) = app.models.route(&skill.model).map_err(|error| {
        let code = match error.code() {
            Code::ProviderNotConfigured => FailureCode::ProviderNotConfigured,
            _ => FailureCode::ModelNotSupported,
        };
        Failure::new(code, error.to_string())
    })?;
    let schema = skill.input_schema.as_deref().unwrap_or_default();
    let prompt = templates::render(&skill.prompt_template, schema, &execution.input).ok_or_else(|| {
        let most = templates::MAX_PROMPT_BYTES >> 20;
        Failure::new(FailureCode::BadRequest, format!("The prompt would be longer than {most} MiB"))
    })?;
    let request = request(prompt, &skill.parameters, &route);
    Ok(Call { app, request, provider, route, progress: Progress::default() })
}

fn lease(app: &App, now: Timestamp) -> Timestamp {
    now + app.config.runs.lease
}

fn request(prompt: String, parameters: &Parameters, route: &ModelRoute) -> ModelRequest {
    let wanted = parameters.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
    // Newer models refuse both together; then the temperature is the one that is sent.
    let (temperature, top_p) = match (&parameters.temperature, &parameters.top_p) {
        (None, None) => (Some(1.into()), None),
        (Some(temperature), Some(_)) if route.exclusive_sampling => (Some(temperature.clone()), None),
        (temperature, top_p) => (temperature.clone(), top_p.clone()),
    };
    ModelRequest {
        model: route.model.clone(),
        prompt,
        max_tokens: route.max_output_tokens.map_or(wanted, |most| wanted.min(most)),
        temperature,
        top_p,
        top_k: parameters.top_k,
        stop_sequences: parameters.stop_sequences.clone().unwrap_or_default(),
    }
}

/// The call of the model, and what it has used so far.
struct Call<'a> {
    app: &'a App,
    request: ModelRequest,
    provider: Arc<dyn ModelProvider>,
    route: ModelRoute,
    progress: Progress,
}

#[derive(Default)]
struct Progress {
    attempts: i16,
    /// Of attempts that ended.
    spent: Option<Usage>,
    /// Of the attempt that runs.
    current: Option<Usage>,
}

impl Call<'_> {
    /// Attempts until one succeeds, fails for good, or there is no time left.
    async fn make(&mut self, started: Instant) -> Outcome {
        let mut retries = 0;
        loop {
            let mut output = String::new();
            let result = self.attempt(&mut output).await;
            self.progress.settle();
            let error = match result {
                Ok(()) => return Outcome::Completed { output },
                Err(error) => error,
            };
            // Text that was shown cannot be taken back.
            let wait = if output.is_empty() { self.wait_before_retry(&error, retries) } else { None };
            match wait {
                Some(wait) if started.elapsed() + wait < self.app.config.runs.soft_limit => {
                    tracing::info!(code = error.failure.code.as_str(), ?wait, "the provider failed; trying again");
                    tokio::time::sleep(wait).await;
                    retries += 1;
                }
                _ => return Outcome::Failed(error.failure),
            }
        }
    }

    async fn attempt(&mut self, output: &mut String) -> Result<(), ModelError> {
        self.progress.attempts += 1;
        let mut stream = self.provider.stream(&self.request).await?;
        while let Some(event) = stream.next().await {
            match event? {
                ModelEvent::Text(piece) => output.push_str(&piece),
                ModelEvent::Usage { prompt_tokens, completion_tokens } => {
                    let usage = self.progress.current.get_or_insert_default();
                    usage.prompt_tokens = prompt_tokens.unwrap_or(usage.prompt_tokens);
                    usage.completion_tokens = completion_tokens.unwrap_or(usage.completion_tokens);
                }
            }
        }
        Ok(())
    }

    /// Exponential with jitter, at least what the provider asks for. None when it is not worth it.
    fn wait_before_retry(&self, error: &ModelError, retries: u32) -> Option<Duration> {
        let asked = error.retry_after.unwrap_or_default();
        if !error.is_retryable || retries >= RETRIES || asked > LONGEST_RETRY_AFTER {
            return None;
        }
        let base = self.app.config.runs.backoff;
        let mut random = [0; 4];
        self.app.random.fill(&mut random);
        let jitter = base * u32::from_le_bytes(random) / u32::MAX;
        Some((base * 2_u32.pow(retries) + jitter).min(base * 10).max(asked))
    }

    fn cost(&mut self) -> ModelCall {
        self.progress.settle();
        ModelCall {
            provider: self.route.provider.as_str(),
            model: self.route.model.clone(),
            attempts: self.progress.attempts,
            usage: self.progress.spent.map(|usage| (usage, self.route.rates.cost(usage))),
        }
    }
}

impl Progress {
    fn settle(&mut self) {
        if let Some(usage) = self.current.take() {
            *self.spent.get_or_insert_default() += usage;
        }
    }
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

/// Writes the end. What was paid for is not given up because the database is away for a moment.
async fn finish(
    app: &App,
    ctx: &TenantContext,
    id: ExecutionId,
    outcome: Option<Outcome>,
    call: ModelCall,
) -> Result<()> {
    let deadline = Instant::now() + PATIENCE_FOR_RESULTS;
    loop {
        match write_end(app, ctx, id, outcome.clone(), &call).await {
            Err(error) if error.is_retryable() && Instant::now() < deadline => {
                tracing::warn!(error = error.internal_text(), "the end of a run could not be written; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => {
                // The job must not be tried again: the lease will lapse, and the run ends as lost.
                tracing::error!(error = error.internal_text(), execution_id = %id, "the end of a run is lost");
                return Ok(());
            }
            Ok(()) => return Ok(()),
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

/// Ends runs whose worker is gone, and gives waiting runs a job that have none. Returns how many were touched.
/// Without `judge`, workers that are silent are left alone: after an outage all of them are.
pub(crate) async fn sweep(app: &App, judge: bool) -> Result<usize> {
    const AT_A_TIME: i64 = 200;
    let now = app.clock.now();
    let mut tx = app.store.system(SystemTask::SweepExecutions).await?;
    let lapsed = if judge { tx.executions().lapsed(now, AT_A_TIME).await? } else { Vec::new() };
    let stranded = tx.executions().stranded(now - app.config.runs.lease, AT_A_TIME).await?;
    drop(tx);
    let mut touched = 0;
    for (run, is_lapsed) in lapsed.iter().map(|r| (r, true)).chain(stranded.iter().map(|r| (r, false))) {
        match rescue(app, run, is_lapsed, now).await {
            Ok(done) => touched += usize::from(done),
            // The others are not to wait for this one.
            Err(error) => tracing::warn!(error = error.internal_text(), id = %run.id, "a run could not be rescued"),
        }
    }
    Ok(touched)
}

async fn rescue(app: &App, run: &ActiveExecution, is_lapsed: bool, now: Timestamp) -> Result<bool> {
    let ctx = super::identity::for_job(run.organization_id, run.user_id);
    let mut tx = app.store.tenant(&ctx).await?;
    let done = if is_lapsed {
        let ending = Ending { outcome: Outcome::Failed(lost()), call: None };
        tx.executions().change(run.id, &Transition::EndLapsed { ending }, now).await?
    } else {
        tx.executions().enqueue(run.id).await?;
        true
    };
    tx.commit().await?;
    Ok(done)
}
