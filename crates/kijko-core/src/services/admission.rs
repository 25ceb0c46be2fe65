//! What every run must pass before it waits for a worker, whatever it is a run of.

use rust_decimal::Decimal;

use crate::app::App;
use crate::domain::ids::SkillId;
use crate::domain::time::Timestamp;
use crate::domain::usage::{Metric, Quota, month};
use crate::error::{Code, Error, Result};
use crate::ports::TenantTx;
use crate::services::usage;

/// Makes room for one more run that may cost so many US dollars, if this transaction commits: what it may cost is held
/// back from the budgets until the run ends.
/// Refuses, in this order, with `TOO_MANY_ACTIVE_EXECUTIONS`, `QUOTA_EXCEEDED`, `BUDGET_EXCEEDED`.
pub(crate) async fn admit(
    app: &App,
    tx: &mut dyn TenantTx,
    skill: Option<SkillId>,
    worst_case: Decimal,
    now: Timestamp,
) -> Result<Quota> {
    let (used, limit) = (tx.executions().count_active().await?, app.config.runs.max_active);
    if used >= limit {
        return Err(Error::LimitReached { code: Code::TooManyActiveExecutions, limit, used });
    }
    let quota = usage::count(app, tx, Metric::ApiCalls).await?;
    match tx.budgets().reserve(skill, month(now.date_naive()).0, worst_case).await? {
        Some(refusal) => Err(Error::BudgetExceeded(Box::new(refusal))),
        None => Ok(quota),
    }
}
