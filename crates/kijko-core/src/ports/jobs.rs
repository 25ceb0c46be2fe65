//! The engine that carries jobs. Enqueueing is part of a transaction, so it is not here but on the repositories.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::domain::jobs::Job;
use crate::error::Result;

#[async_trait]
pub trait JobEngine: Send + Sync {
    /// Runs jobs until told to stop, then waits for those that are running.
    async fn run(&self, handler: Arc<dyn JobHandler>, take: Take, stop: CancellationToken) -> Result<()>;

    /// Runs what is ready and not marked, then returns.
    async fn run_ready(&self, handler: Arc<dyn JobHandler>) -> Result<()>;

    /// Takes the marks off jobs that wait, but for these; says how many.
    async fn unmark(&self, except: &[String]) -> Result<u64>;

    async fn stats(&self) -> Result<JobStats>;

    /// Closes its connections.
    async fn close(&self);
}

/// Which jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Take {
    Unmarked,
    /// With one of these models; at least one.
    Marked(Vec<String>),
}

#[async_trait]
pub trait JobHandler: Send + Sync + std::fmt::Debug {
    /// An error means: try again later.
    async fn handle(&self, job: Job) -> Result<()>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobStats {
    /// Ready to run, held by nobody.
    pub ready: i64,
    /// Held by a worker.
    pub held: i64,
    /// Out of attempts.
    pub dead: i64,
}
