//! One run of a skill, kept or a test, from the claim to the end.
//!
//! Claim and commit, call the model with nothing open (`calls`), then write the end. The claim is what makes a run
//! happen at most once: a run whose worker is lost fails, because the provider may already have charged for it.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::context::TenantContext;
use crate::domain::events::Event;
use crate::domain::executions::{Ending, ExecutionStatus, Failure, FailureCode, ModelCall, Outcome};
use crate::domain::jobs::Workplace;
use crate::domain::models::Provider;
use crate::domain::runs::RunId;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ports::SystemTask;
use crate::ports::events::Heard;
use crate::ports::models::Target;
use crate::ports::runs::{ActiveRun, Transition};
use crate::services::calls::{Call, lost};
use crate::services::{executions, models, programs, test_runs};

/// For this long a finished result is kept and offered to a database that is away.
const PATIENCE_FOR_RESULTS: Duration = Duration::from_secs(300);

/// Runs what waits; finds nothing to do if it does not wait any more.
/// An error means that nothing was called and the job may be tried again.
pub(crate) async fn run(app: &App, ctx: &TenantContext, id: RunId, carrier: &Carrier) -> Result<()> {
    // Heard from before the claim, so that no cancellation falls between.
    let heard = app.events.subscribe();
    let Some(mut call) = claim(app, ctx, id, carrier).await? else { return Ok(()) };
    let outcome = tokio::select! {
        outcome = call.make(&carrier.abandon) => Some(outcome),
        () = ended_elsewhere(app, ctx, id, heard) => None,
    };
    let call = call.cost();
    persist(id, || Box::pin(write_end(app, ctx, id, outcome.clone(), &call))).await;
    Ok(())
}

/// What was found out about a run that waits.
pub(crate) enum Prepared<'a> {
    /// With the version of the skill, if it is a stored one.
    Call(Box<Call<'a>>, Option<i32>),
    Failed(Failure),
    /// It is for a worker there.
    Misplaced(Workplace),
    /// Nothing waits any more.
    Gone,
}

/// Who carries runs in this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carrier {
    /// What runs now is to end as lost.
    pub(crate) abandon: CancellationToken,
    /// Only runs that may call a model which this process offers: it may lack what others need, such as keys.
    pub(crate) only_offered: bool,
}

impl Carrier {
    /// Those that can be called here, if the run is for this carrier; else where it belongs. Wherever it is sent, it is
    /// taken: a run that names an offered model always has it among its targets in the process that offers it.
    pub(crate) fn callable(&self, app: &App, mut targets: Vec<Target>) -> Result<Vec<Target>, Workplace> {
        let is_offered = |target: &Target| programs::is_offered(app, &target.route);
        let place = programs::workplace(&targets);
        targets.retain(|target| match target.route.provider {
            Provider::Program => is_offered(target),
            // Whether anything is answered offline is for the others to say.
            Provider::Offline => !self.only_offered,
            Provider::Anthropic | Provider::Google | Provider::OpenAi => true,
        });
        match place {
            _ if self.only_offered && !targets.iter().any(is_offered) => Err(Workplace::Anywhere),
            Workplace::Beside(model) if !self.only_offered && !app.models.offers(&model) => {
                Err(Workplace::Beside(model))
            }
            Workplace::Beside(_) | Workplace::Anywhere => Ok(targets),
        }
    }

    /// What it means that nobody serves the model, as far as this process knows.
    pub(crate) fn refused<'a>(&self, refusal: Error) -> Result<Prepared<'a>> {
        let failure = models::failure(refusal)?;
        Ok(if self.only_offered { Prepared::Misplaced(Workplace::Anywhere) } else { Prepared::Failed(failure) })
    }
}

/// pending → running, or → failed if it cannot run at all. None when there is nothing to run, or others must do it.
async fn claim<'a>(app: &'a App, ctx: &TenantContext, id: RunId, carrier: &Carrier) -> Result<Option<Call<'a>>> {
    let mut tx = app.store.tenant(ctx).await?;
    let prepared = match id {
        RunId::Execution(id) => executions::prepare(app, &mut *tx, id, carrier).await?,
        RunId::Test(id) => test_runs::prepare(app, &mut *tx, id, carrier).await?,
    };
    let now = app.clock.now();
    let (call, transition) = match prepared {
        Prepared::Gone => return Ok(None),
        // The skill may have got another model since.
        Prepared::Misplaced(place) => {
            tx.runs().enqueue(id, &place).await?;
            tx.commit().await?;
            return Ok(None);
        }
        Prepared::Call(call, skill_version) => {
            (Some(*call), Transition::Claim { skill_version, lease_expires_at: lease(app, now) })
        }
        Prepared::Failed(failure) => {
            let ending = Ending { outcome: Outcome::Failed(failure), call: None };
            (None, Transition::End { from: &[ExecutionStatus::Pending], ending })
        }
    };
    let is_ours = tx.runs().change(id, &transition, now).await?;
    tx.commit().await?;
    Ok(call.filter(|_| is_ours))
}

fn lease(app: &App, now: Timestamp) -> Timestamp {
    now + app.config.runs.lease
}

/// Returns when the run is not ours any more: cancelled, or its skill deleted. Renews the lease until then.
async fn ended_elsewhere(app: &App, ctx: &TenantContext, id: RunId, mut heard: broadcast::Receiver<Heard>) {
    let period = app.config.runs.lease / 4;
    // The claim was the first.
    let mut renewal = tokio::time::interval_at(Instant::now() + period, period);
    loop {
        tokio::select! {
            _ = renewal.tick() => {}
            message = heard.recv() => match message {
                Ok(Heard::Event(Event::ExecutionEnded { execution_id })) if id == RunId::Execution(execution_id) => {}
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

async fn renew(app: &App, ctx: &TenantContext, id: RunId) -> Result<bool> {
    let now = app.clock.now();
    let mut tx = app.store.tenant(ctx).await?;
    let running = tx.runs().change(id, &Transition::Renew { lease_expires_at: lease(app, now) }, now).await?;
    tx.commit().await?;
    Ok(running)
}

/// Writes an end. What was paid for is not given up because the database is away for a moment.
async fn persist<'a>(id: RunId, write_end: impl Fn() -> BoxFuture<'a, Result<()>> + Send + Sync) {
    let deadline = Instant::now() + PATIENCE_FOR_RESULTS;
    loop {
        match write_end().await {
            Err(error) if error.is_retryable() && Instant::now() < deadline => {
                tracing::warn!(error = error.internal_text(), "the end of a run could not be written; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => {
                // The job must not be tried again: the lease will lapse, and the run ends as lost.
                tracing::error!(error = error.internal_text(), run_id = %id, "the end of a run is lost");
                return;
            }
            Ok(()) => return,
        }
    }
}

async fn write_end(
    app: &App,
    ctx: &TenantContext,
    id: RunId,
    outcome: Option<Outcome>,
    call: &ModelCall,
) -> Result<()> {
    let now = app.clock.now();
    let mut tx = app.store.tenant(ctx).await?;
    let ended = match outcome {
        Some(outcome) => {
            let ending = Ending { outcome, call: Some(call.clone()) };
            tx.runs().change(id, &Transition::End { from: &[ExecutionStatus::Running], ending }, now).await?
        }
        None => false,
    };
    if !ended {
        // Somebody was first. Their status stands; what the call had cost is still true.
        tx.runs().change(id, &Transition::RecordUsage { call: call.clone() }, now).await?;
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
    let mut tx = app.store.system(SystemTask::SweepRuns).await?;
    let lapsed = if judge { tx.runs().lapsed(now, AT_A_TIME).await? } else { Vec::new() };
    let left_behind = tx.runs().left_behind(AT_A_TIME).await?;
    let stranded = tx.runs().stranded(now - app.config.runs.lease, AT_A_TIME).await?;
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

async fn rescue(app: &App, run: &ActiveRun, needed: Rescue, now: Timestamp) -> Result<bool> {
    let ctx = super::identity::for_job(run.organization_id, run.user_id);
    let mut tx = app.store.tenant(&ctx).await?;
    let done = match needed {
        Rescue::End => {
            let ending = Ending { outcome: Outcome::Failed(lost()), call: None };
            tx.runs().change(run.id, &Transition::EndLapsed { ending }, now).await?
        }
        Rescue::Cancel => {
            let failure = Failure::new(FailureCode::Cancelled, "Cancelled because its owner left the organisation");
            let ending = Ending { outcome: Outcome::Cancelled(failure), call: None };
            let end = Transition::End { from: &[ExecutionStatus::Pending], ending };
            if let RunId::Execution(execution_id) = run.id {
                tx.announce(&Event::ExecutionEnded { execution_id }).await?;
            }
            tx.runs().change(run.id, &end, now).await?
        }
        Rescue::Enqueue => {
            tx.runs().enqueue(run.id, &Workplace::Anywhere).await?;
            true
        }
    };
    tx.commit().await?;
    Ok(done)
}
