//! Executions of the user in the context.

use async_trait::async_trait;
use rust_decimal::Decimal;

use crate::domain::executions::{Execution, Failure, NewExecution};
use crate::domain::ids::{ExecutionId, SkillId};
use crate::domain::jobs::Workplace;
use crate::domain::time::Timestamp;
use crate::error::Result;

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
}
