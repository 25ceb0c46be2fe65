//! Tests of the user in the context, and the few facts about them that span organisations.

use async_trait::async_trait;

use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::jobs::Workplace;
use crate::domain::test_runs::{NewTestRun, TestQuestion, TestRun, TestRunId};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ports::executions::Transition;

#[async_trait]
pub trait TestRunRepo: Send {
    /// None once it has expired.
    async fn find(&mut self, id: TestRunId, now: Timestamp) -> Result<Option<TestRun>>;

    /// What a waiting test is to ask.
    async fn question(&mut self, id: TestRunId) -> Result<Option<TestQuestion>>;

    /// Writes the test and enqueues the job that carries it.
    async fn insert(&mut self, test: &NewTestRun, place: &Workplace) -> Result<()>;

    /// Enqueues the job of a waiting test once more; one that is there already is replaced.
    async fn enqueue(&mut self, id: TestRunId, place: &Workplace) -> Result<()>;

    /// One conditional update: it says whether this caller made the change, the first writer wins.
    async fn change(&mut self, id: TestRunId, transition: &Transition, now: Timestamp) -> Result<bool>;
}

#[async_trait]
pub trait ActiveTestRunRepo: Send {
    /// Running, but the lease ran out before `now`.
    async fn lapsed(&mut self, now: Timestamp, limit: i64) -> Result<Vec<ActiveTestRun>>;

    /// Waiting since before `before`, with no job to carry them.
    async fn stranded(&mut self, before: Timestamp, limit: i64) -> Result<Vec<ActiveTestRun>>;

    /// Forgets those that expired, of everybody; says how many.
    async fn delete_expired(&mut self, now: Timestamp) -> Result<u64>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveTestRun {
    pub organization_id: OrganizationId,
    pub user_id: UserId,
    pub id: TestRunId,
}
