//! Tests of skills: those of the user in the context, and forgetting old ones.

use async_trait::async_trait;

use crate::domain::jobs::Workplace;
use crate::domain::test_runs::{NewTestRun, TestQuestion, TestRun, TestRunId};
use crate::domain::time::Timestamp;
use crate::error::Result;

#[async_trait]
pub trait TestRunRepo: Send {
    /// None once it has expired.
    async fn find(&mut self, id: TestRunId, now: Timestamp) -> Result<Option<TestRun>>;

    /// What a waiting test is to ask.
    async fn question(&mut self, id: TestRunId) -> Result<Option<TestQuestion>>;

    /// Writes the test and enqueues the job that carries it.
    async fn insert(&mut self, test: &NewTestRun, place: &Workplace) -> Result<()>;
}

#[async_trait]
pub trait OldTestRunRepo: Send {
    /// Forgets those that expired, of everybody; says how many.
    async fn delete_expired(&mut self, now: Timestamp) -> Result<u64>;
}
