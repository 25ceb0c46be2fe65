//! The history of the user in the context: parts of it in its order, newest first, and its end.

use async_trait::async_trait;

use crate::domain::executions::{ExecutionFilter, ExecutionWithSkill};
use crate::domain::history::{Deleted, Part};
use crate::domain::ids::ExecutionId;
use crate::domain::time::Timestamp;
use crate::error::Result;

#[async_trait]
pub trait HistoryRepo: Send {
    /// At most `limit` of those that fit, from where the part begins, newest first.
    async fn part(&mut self, filter: &ExecutionFilter, part: &Part, limit: u32) -> Result<Vec<ExecutionWithSkill>>;

    /// How many fit.
    async fn count(&mut self, filter: &ExecutionFilter) -> Result<u64>;

    /// Waiting and running, newest first.
    async fn active(&mut self, limit: u32) -> Result<Vec<ExecutionWithSkill>>;

    async fn find(&mut self, id: ExecutionId) -> Result<Option<ExecutionWithSkill>>;

    /// Deletes what ended and was asked for before this moment, the oldest first, at most `limit`.
    async fn delete_before(&mut self, moment: Timestamp, limit: u32) -> Result<Deleted>;
}
