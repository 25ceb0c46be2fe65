//! What happens to a run between the queue and its end, and the few facts about active runs that span organisations.

use async_trait::async_trait;

use crate::domain::executions::{Ending, ExecutionStatus, ModelCall};
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::jobs::Workplace;
use crate::domain::runs::RunId;
use crate::domain::time::Timestamp;
use crate::error::Result;

#[async_trait]
pub trait RunRepo: Send {
    /// Enqueues the job of a waiting run once more; one that is there already is replaced.
    async fn enqueue(&mut self, run: RunId, place: &Workplace) -> Result<()>;

    /// One conditional update: it says whether this caller made the change, the first writer wins.
    async fn change(&mut self, run: RunId, transition: &Transition, now: Timestamp) -> Result<bool>;
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

/// What the sweep may know: which runs are active, and whose. Of either kind at most `limit`.
#[async_trait]
pub trait ActiveRunRepo: Send {
    /// Running, but the lease ran out before `now`.
    async fn lapsed(&mut self, now: Timestamp, limit: i64) -> Result<Vec<ActiveRun>>;

    /// Executions that wait, of somebody who does not work in that organisation any more.
    async fn left_behind(&mut self, limit: i64) -> Result<Vec<ActiveRun>>;

    /// Waiting since before `before`, with no job to carry them.
    async fn stranded(&mut self, before: Timestamp, limit: i64) -> Result<Vec<ActiveRun>>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveRun {
    pub organization_id: OrganizationId,
    pub user_id: UserId,
    pub id: RunId,
}
