//! How much of its plan the organisation in the context has used.

use async_trait::async_trait;
use chrono::NaiveDate;

use crate::domain::plans::Plan;
use crate::domain::usage::Metric;
use crate::error::Result;

#[async_trait]
pub trait UsageRepo: Send {
    /// Counts so many in the period, or none when that would pass the limit of the plan: check and count are one step,
    /// and nobody else counts until this transaction ends.
    async fn count(&mut self, metric: Metric, period: NaiveDate, amount: i64) -> Result<Counted>;

    /// The plan, and what was counted in the period.
    async fn find(&mut self, metric: Metric, period: NaiveDate) -> Result<(Plan, i64)>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub admitted: bool,
    pub plan: Plan,
    /// With what was counted just now.
    pub used: i64,
}

#[async_trait]
pub trait OldUsageRepo: Send {
    /// Forgets periods that began before then, of everybody; says how many.
    async fn delete_before(&mut self, day: NaiveDate) -> Result<u64>;
}
