//! Budgets and spending of the organisation in the context, and what there is to announce of any.

use async_trait::async_trait;
use chrono::NaiveDate;
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::domain::budgets::{Budget, BudgetNotice, BudgetRefusal};
use crate::domain::ids::{OrganizationId, SkillId};
use crate::domain::time::Timestamp;
use crate::domain::usage::Metric;
use crate::error::Result;

/// Without a skill, the organisation's.
#[async_trait]
pub trait BudgetRepo: Send {
    async fn find(&mut self, skill: Option<SkillId>, month: NaiveDate) -> Result<Budget>;

    /// Sets the limit, or takes it away. False when the caller may not.
    async fn set(
        &mut self,
        skill: Option<SkillId>,
        limit: Option<Decimal>,
        month: NaiveDate,
        now: Timestamp,
    ) -> Result<bool>;

    /// Holds back so much of the budget of the organisation and of that of the skill, in one step; or says which of them
    /// has not so much left. Nobody else reserves or settles until this transaction ends.
    async fn reserve(
        &mut self,
        skill: Option<SkillId>,
        month: NaiveDate,
        amount: Decimal,
    ) -> Result<Option<BudgetRefusal>>;
}

/// The same of any organisation.
#[async_trait]
pub trait AllUsageRepo: Send {
    /// How often a metric was counted in the period.
    async fn used(&mut self, organization: OrganizationId, metric: Metric, period: NaiveDate) -> Result<i64>;

    /// The budget of the organisation itself.
    async fn budget(&mut self, organization: OrganizationId, month: NaiveDate) -> Result<Budget>;
}

#[async_trait]
pub trait BudgetNoticeRepo: Send {
    /// What was reached and not announced yet; it counts as announced once this transaction commits.
    async fn take(
        &mut self,
        organization: OrganizationId,
        subject: Uuid,
        month: NaiveDate,
    ) -> Result<Option<BudgetNotice>>;

    /// The addresses of whoever looks after the organisation.
    async fn recipients(&mut self, organization: OrganizationId) -> Result<Vec<String>>;
}
