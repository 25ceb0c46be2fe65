//! Runs jobs: one `match` over what a job can be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::domain::jobs::Job;
use crate::domain::offered_models::PATIENCE;
use crate::domain::runs::RunId;
use crate::error::{Error, Result};
use crate::ports::jobs::{JobHandler, Take};
use crate::services::runs::Carrier;
use crate::services::{
    budgets, history, idempotency, identity, login_attempts, mails, programs, realm_sessions, runs, statistics,
    test_runs, tickets, usage,
};

/// Between two looks for runs that were lost.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Between two looks for what nobody needs any more.
const TIDY_INTERVAL: Duration = Duration::from_secs(600);

/// Works until told to stop. Then no job is begun any more; those that run get the grace period, and are ended as
/// lost after that. Any number of processes may work at the same time.
pub async fn run(app: &App, stop: CancellationToken) -> Result<()> {
    let worker = Arc::new(Worker::new(app, false));
    tokio::select! {
        result = app.jobs.run(worker.clone(), Take::Unmarked, stop.clone()) => result,
        () = sweep_regularly(app) => Ok(()),
        () = tidy_regularly(app) => Ok(()),
        () = worker.give_up_after_grace(&stop) => Ok(()),
    }
}

/// The same for runs of the models that this process offers, and nothing else.
pub async fn serve_models(app: &App, stop: CancellationToken) -> Result<()> {
    let worker = Arc::new(Worker::new(app, true));
    tokio::select! {
        result = take_offered(app, &worker, &stop) => result,
        () = worker.give_up_after_grace(&stop) => Ok(()),
    }
}

/// The engine's workers are made for certain marks, so other models need another one; the old one ends what it runs.
async fn take_offered(app: &App, worker: &Arc<Worker>, stop: &CancellationToken) -> Result<()> {
    let mut taking = JoinSet::new();
    let mut marks = BTreeSet::new();
    let mut until = stop.child_token();
    while !stop.is_cancelled() {
        let (offered, changed) = app.models.offered();
        let wanted: BTreeSet<String> = offered.into_iter().map(|model| model.name).collect();
        if wanted != marks {
            until.cancel();
            until = stop.child_token();
            marks = wanted;
            if !marks.is_empty() {
                let (jobs, worker, until) = (app.jobs.clone(), worker.clone(), until.clone());
                let take = Take::Marked(marks.iter().cloned().collect());
                taking.spawn(async move { jobs.run(worker, take, until).await });
            }
        }
        tokio::select! {
            () = changed => {}
            () = stop.cancelled() => {}
        }
    }
    while let Some(ended) = taking.join_next().await {
        ended.map_err(|error| Error::internal("taking runs of the models served here", error))??;
    }
    Ok(())
}

/// Runs what is ready and returns; for tests and for emptying a queue by hand.
pub async fn run_ready(app: &App) -> Result<()> {
    sweep(app, true, true).await?;
    tidy(app).await?;
    app.jobs.run_ready(Arc::new(Worker::new(app, false))).await
}

async fn sweep_regularly(app: &App) {
    let mut interval = tokio::time::interval(SWEEP_INTERVAL);
    let mut judge_from = Instant::now();
    let mut undisturbed_since = Instant::now();
    loop {
        interval.tick().await;
        // Programs are judged by a worker that has listened for as long as they may be silent.
        let may_release = undisturbed_since.elapsed() >= PATIENCE;
        match sweep(app, Instant::now() >= judge_from, may_release).await {
            Ok(0) => {}
            Ok(touched) => tracing::info!(touched, "runs without a worker were ended or enqueued again"),
            Err(error) => {
                tracing::warn!(error = error.internal_text(), "the sweep failed; it will be tried again");
                // Nobody could renew a lease meanwhile, so silence says nothing until they had the time to.
                judge_from = Instant::now() + app.config.runs.lease;
                undisturbed_since = Instant::now();
            }
        }
    }
}

/// Runs that nobody carries, and jobs that wait for programs that are gone.
async fn sweep(app: &App, judge_workers: bool, judge_programs: bool) -> Result<usize> {
    let touched = runs::sweep(app, judge_workers).await?;
    if judge_programs {
        programs::release_jobs(app).await?;
    }
    Ok(touched)
}

async fn tidy_regularly(app: &App) {
    let mut interval = tokio::time::interval(TIDY_INTERVAL);
    loop {
        interval.tick().await;
        if let Err(error) = tidy(app).await {
            tracing::warn!(error = error.internal_text(), "what is old could not be removed; it will be tried again");
        }
    }
}

async fn tidy(app: &App) -> Result<()> {
    statistics::merge(app).await?;
    history::enforce_retention(app).await?;
    idempotency::forget_old(app).await?;
    login_attempts::forget_old(app).await?;
    mails::forget_old(app).await?;
    programs::forget_old(app).await?;
    realm_sessions::forget_old(app).await?;
    tickets::purge(app).await?;
    test_runs::forget_old(app).await?;
    usage::forget_old(app).await.map(drop)
}

struct Worker {
    app: App,
    carrier: Carrier,
}

impl Worker {
    fn new(app: &App, only_offered: bool) -> Self {
        Self { app: app.clone(), carrier: Carrier { only_offered, ..Carrier::default() } }
    }

    async fn give_up_after_grace(&self, stop: &CancellationToken) {
        stop.cancelled().await;
        tokio::time::sleep(self.app.config.http.shutdown_grace).await;
        self.carrier.abandon.cancel();
        std::future::pending().await
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Worker")
    }
}

#[async_trait]
impl JobHandler for Worker {
    async fn handle(&self, job: Job) -> Result<()> {
        match job {
            Job::RunExecution { organization_id, user_id, execution_id } => {
                let ctx = identity::for_job(organization_id, user_id);
                runs::run(&self.app, &ctx, RunId::Execution(execution_id), &self.carrier).await
            }
            Job::RunTest { organization_id, user_id, test_run_id } => {
                let ctx = identity::for_job(organization_id, user_id);
                runs::run(&self.app, &ctx, RunId::Test(test_run_id), &self.carrier).await
            }
            Job::AnnounceBudget { organization_id, subject_id, month } => {
                budgets::announce(&self.app, organization_id, subject_id, month).await
            }
            Job::SendMail { mail_id } => mails::send(&self.app, mail_id).await,
        }
    }
}
