//! The job engine: graphile_worker, chosen by trial over apalis (see `docs/operations.md`).
//!
//! Jobs are enqueued by `app.enqueue_execution`, in the transaction of the change. Here they are run. The engine may
//! run a job twice (a worker that was paused for long is taken for dead); the domain row decides who does the work.
//! Several of its defaults are dangerous; each option below says against what it stands.

mod driver;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use graphile_worker::{
    IntoTaskHandlerResult, JobRecovery, JobRecoveryContext, JobRecoveryResult, LocalQueueConfig, RefetchDelayConfig,
    TaskHandler, Worker, WorkerContext, WorkerOptions, WorkerRecoveryConfig,
};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::driver::PatientDatabase;
use super::postgres::errors::translate;
use super::postgres::migrations::ENGINE_SCHEMA;
use crate::domain::jobs::Job;
use crate::error::{Error, Result};
use crate::ports::jobs::{JobEngine, JobHandler, JobStats, Take};

/// The engine's own connections: one listens, two keep the heartbeat and the sweep going while jobs finish. Twice as
/// many, since what is marked has a worker of its own.
const EXTRA_CONNECTIONS: u32 = 8;
const POLL_INTERVAL: Duration = Duration::from_secs(1);
const RECOVERY_DELAY: Duration = Duration::from_secs(2);

pub(crate) struct GraphileEngine {
    concurrency: usize,
    shutdown_grace: Duration,
    pool: PgPool,
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Task(Job);

#[derive(Clone, Debug)]
struct Handler {
    inner: Arc<dyn JobHandler>,
    running: TaskTracker,
}

impl TaskHandler for Task {
    const IDENTIFIER: &'static str = "kijko";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        let Some(handler) = ctx.get_ext::<Handler>() else { return Err("the worker has no handler".to_owned()) };
        // In a task of its own: should the engine give up and drop us, a call that is paid for goes on to its end.
        let inner = handler.inner.clone();
        let running = handler.running.spawn(async move { inner.handle(self.0).await });
        let result = running.await.map_err(|e| Error::internal("running a job", e)).and_then(|result| result);
        // What is stored with the job is for operators, so it may hold the inner text.
        result.map_err(|e| e.internal_text().unwrap_or_else(|| e.to_string()))
    }
}

impl GraphileEngine {
    /// `options` log in as a role that may become the system role; the engine works as that from the start.
    pub(crate) fn new(options: PgConnectOptions, concurrency: usize, shutdown_grace: Duration) -> Self {
        let options = options.options([("role", "kijko_system")]);
        let connections = u32::try_from(concurrency).unwrap_or(u32::MAX).saturating_add(EXTRA_CONNECTIONS);
        let pool = PgPoolOptions::new().max_connections(connections).connect_lazy_with(options);
        Self { concurrency, shutdown_grace, pool }
    }

    async fn worker(&self, handler: Handler, take: &Take, stop: CancellationToken) -> Result<Worker> {
        selective(take)
            .database(graphile_worker::Database::new(PatientDatabase::new(self.pool.clone())))
            .schema(ENGINE_SCHEMA)
            .concurrency(self.concurrency)
            .poll_interval(POLL_INTERVAL)
            .local_queue(self.local_queue())
            // Off by default, and then a dead worker's jobs stay locked for hours.
            .worker_recovery(
                WorkerRecoveryConfig::default()
                    .enabled(true)
                    .heartbeat_interval(Duration::from_secs(10))
                    .sweep_interval(Duration::from_secs(10))
                    .sweep_threshold(Duration::from_secs(40))
                    .recovery_delay(RECOVERY_DELAY),
            )
            // Without it a job that kills its worker is tried for ever.
            .on(JobRecovery, |ctx: JobRecoveryContext| async move {
                #[expect(clippy::disallowed_methods, reason = "the engine schedules by the real time")]
                let run_at = chrono::Utc::now() + RECOVERY_DELAY;
                JobRecoveryResult::Reschedule { run_at, attempts: Some(*ctx.job.attempts()) }
            })
            .shutdown_grace_period(self.shutdown_grace + Duration::from_secs(5))
            .shutdown_interrupted_job_retry_delay(Duration::from_secs(1))
            .listen_os_shutdown_signals(false)
            .shutdown_signal(async move { stop.cancelled().await })
            .add_extension(handler)
            .define_job::<Task>()
            .init()
            .await
            .map_err(|e| Error::internal("starting the job engine", e))
    }

    /// Without one, a backlog drains at one job per slot and poll. Small, and given back soon, since the jobs in it
    /// wait for this worker alone. Without the delay an idle engine asks 1 800 times a second.
    fn local_queue(&self) -> LocalQueueConfig {
        let delay =
            RefetchDelayConfig::default().with_duration(POLL_INTERVAL).with_threshold(0).with_max_abort_threshold(1);
        LocalQueueConfig::default()
            .with_size(self.concurrency)
            .with_ttl(Duration::from_secs(10))
            .with_refetch_delay(delay)
    }
}

/// Marks are the engine's flags. Without any restriction a worker would take every job.
fn selective(take: &Take) -> WorkerOptions {
    match take {
        Take::Unmarked => WorkerOptions::default().job_flag_allowlist([""; 0]),
        Take::Marked(models) => {
            models.iter().fold(WorkerOptions::default(), |options, model| options.add_accepted_flag(model))
        }
    }
}

#[async_trait]
impl JobEngine for GraphileEngine {
    async fn run(&self, handler: Arc<dyn JobHandler>, take: Take, stop: CancellationToken) -> Result<()> {
        let handler = Handler { inner: handler, running: TaskTracker::new() };
        while !stop.is_cancelled() {
            let outcome = match self.worker(handler.clone(), &take, stop.clone()).await {
                Ok(worker) => worker.run().await.map_err(|e| Error::internal("running jobs", e)),
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                tracing::warn!(error = error.internal_text(), "the job engine stopped; starting it again");
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                }
            }
        }
        handler.running.close();
        handler.running.wait().await;
        Ok(())
    }

    async fn run_ready(&self, handler: Arc<dyn JobHandler>) -> Result<()> {
        let handler = Handler { inner: handler, running: TaskTracker::new() };
        let worker = self.worker(handler, &Take::Unmarked, CancellationToken::new()).await?;
        worker.run_once().await.map_err(|e| Error::internal("running jobs", e))
    }

    async fn unmark(&self, except: &[String]) -> Result<u64> {
        let done = sqlx::query(
            "UPDATE graphile_worker._private_jobs SET flags = NULL
              WHERE flags IS NOT NULL AND locked_at IS NULL AND NOT flags ?| $1",
        )
        .bind(except)
        .execute(&self.pool)
        .await
        .map_err(translate)?;
        Ok(done.rows_affected())
    }

    async fn stats(&self) -> Result<JobStats> {
        let (ready, held, dead): (i64, i64, i64) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE is_available AND run_at <= now()),
                    count(*) FILTER (WHERE locked_at IS NOT NULL),
                    count(*) FILTER (WHERE attempts >= max_attempts AND locked_at IS NULL)
               FROM graphile_worker._private_jobs",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(translate)?;
        Ok(JobStats { ready, held, dead })
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}
