//! Runs of the user in the context, and the few facts about active runs that span organisations.

use async_trait::async_trait;
use rust_decimal::Decimal;

use crate::domain::executions::{Ending, Execution, ExecutionStatus, Failure, ModelCall, NewExecution};
use crate::domain::ids::{ExecutionId, OrganizationId, SkillId, UserId};
use crate::domain::jobs::Workplace;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// Every change is one conditional update: it says whether this caller made it, the first writer wins.
#[async_trait]
pub trait ExecutionRepo: Send {
    async fn find(&mut self, id: ExecutionId) -> Result<Option<Execution>>;

    /// Waiting and running runs of the user, tests too; later callers wait until this transaction ends.
    async fn count_active(&mut self) -> Result<i64>;

    /// Ends the waiting and running runs of these skills, and says which; nobody adds one until this transaction ends.
    async fn cancel_of(&mut self, skills: &[SkillId], why: &Failure, now: Timestamp) -> Result<Vec<ExecutionId>>;

    /// Writes the run, with what is held back for it, and enqueues the job that carries it.
    async fn insert(&mut self, execution: &NewExecution, reserved_usd: Decimal, place: &Workplace) -> Result<()>;

    /// Sees to it that so much is held back for a waiting run. False when a budget has not so much left.
    async fn cover(&mut self, id: ExecutionId, worst_case: Decimal) -> Result<bool>;

    /// Enqueues the job of a waiting run once more; one that is there already is replaced.
    async fn enqueue(&mut self, id: ExecutionId, place: &Workplace) -> Result<()>;

    async fn change(&mut self, id: ExecutionId, transition: &Transition, now: Timestamp) -> Result<bool>;
}

/// The edges of the state machine.
#[derive(Clone, Debug)]
pub enum Transition {
    /// `pending` → `running`, with this version of the skill, if it is a stored one.
    Claim { skill_version: Option<i32>, lease_expires_at: Timestamp },
    /// `running` → `running`: the worker lives.
    Renew { lease_expires_at: Timestamp },
    /// Any of `from` → the outcome's status.
    End { from: &'static [ExecutionStatus], ending: Ending },
    /// `running` → the outcome's status, if the lease ran out before now.
    EndLapsed { ending: Ending },
    /// No change of status: what the call had cost that somebody else ended.
    RecordUsage { call: ModelCall },
}

/// What the sweep may know: which runs are active, and whose.
#[async_trait]
pub trait ActiveExecutionRepo: Send {
    /// Running, but the lease ran out before `now`.
    async fn lapsed(&mut self, now: Timestamp, limit: i64) -> Result<Vec<ActiveExecution>>;

    /// Waiting, of somebody who does not work in that organisation any more.
    async fn left_behind(&mut self, limit: i64) -> Result<Vec<ActiveExecution>>;

    /// Waiting since before `before`, with no job to carry them.
    async fn stranded(&mut self, before: Timestamp, limit: i64) -> Result<Vec<ActiveExecution>>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveExecution {
    pub organization_id: OrganizationId,
    pub user_id: UserId,
    pub id: ExecutionId,
}
