//! Runs jobs: one `match` over what a job can be.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::domain::jobs::Job;
use crate::error::Result;
use crate::ports::jobs::JobHandler;
use crate::services::{
    budgets, history, idempotency, identity, login_attempts, mails, realm_sessions, runs, statistics, test_runs,
    tickets, usage,
};

/// Between two looks for runs that were lost.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Between two looks for what nobody needs any more.
const TIDY_INTERVAL: Duration = Duration::from_secs(600);

/// Works until told to stop. Then no job is begun any more; those that run get the grace period, and are ended as
/// lost after that. Any number of processes may work at the same time.
pub async fn run(app: &App, stop: CancellationToken) -> Result<()> {
    let abandon = CancellationToken::new();
    let worker = Arc::new(Worker { app: app.clone(), abandon: abandon.clone() });
    let grace = async {
        stop.cancelled().await;
        tokio::time::sleep(app.config.http.shutdown_grace).await;
        abandon.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = app.jobs.run(worker, stop.clone()) => result,
        () = sweep_regularly(app) => Ok(()),
        () = tidy_regularly(app) => Ok(()),
        () = grace => Ok(()),
    }
}

/// Runs what is ready and returns; for tests and for emptying a queue by hand.
pub async fn run_ready(app: &App) -> Result<()> {
    sweep(app, true).await?;
    tidy(app).await?;
    app.jobs.run_ready(Arc::new(Worker { app: app.clone(), abandon: CancellationToken::new() })).await
}

async fn sweep_regularly(app: &App) {
    let mut interval = tokio::time::interval(SWEEP_INTERVAL);
    let mut judge_from = Instant::now();
    loop {
        interval.tick().await;
        match sweep(app, Instant::now() >= judge_from).await {
            Ok(0) => {}
            Ok(touched) => tracing::info!(touched, "runs without a worker were ended or enqueued again"),
            Err(error) => {
                tracing::warn!(error = error.internal_text(), "the sweep failed; it will be tried again");
                // Nobody could renew a lease meanwhile, so silence says nothing until they had the time to.
                judge_from = Instant::now() + app.config.runs.lease;
            }
        }
    }
}

/// Runs and tests that nobody carries.
async fn sweep(app: &App, judge: bool) -> Result<usize> {
    Ok(runs::sweep(app, judge).await? + test_runs::sweep(app, judge).await?)
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
    realm_sessions::forget_old(app).await?;
    tickets::purge(app).await?;
    test_runs::forget_old(app).await?;
    usage::forget_old(app).await.map(drop)
}

struct Worker {
    app: App,
    abandon: CancellationToken,
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
                runs::run(&self.app, &ctx, execution_id, &self.abandon).await
            }
            Job::RunTest { organization_id, user_id, test_run_id } => {
                let ctx = identity::for_job(organization_id, user_id);
                test_runs::run(&self.app, &ctx, test_run_id, &self.abandon).await
            }
            Job::AnnounceBudget { organization_id, subject_id, month } => {
                budgets::announce(&self.app, organization_id, subject_id, month).await
            }
            Job::SendMail { mail_id } => mails::send(&self.app, mail_id).await,
        }
    }
}
