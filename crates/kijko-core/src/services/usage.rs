//! Counts what organisations use of their plans, in the transaction of what is counted: no unit is lost by what failed,
//! and none is free.

use chrono::Days;

use crate::app::App;
use crate::domain::usage::{Metric, Quota};
use crate::error::{Error, Result};
use crate::ports::{SystemTask, TenantTx};

/// For how long after its beginning a period can be looked at: the last month whole, and a bit.
const KEPT: Days = Days::new(76);

/// Counts one unit, if this transaction commits. Refuses with `QUOTA_EXCEEDED` when there is none left.
pub(crate) async fn count(app: &App, tx: &mut dyn TenantTx, metric: Metric) -> Result<Quota> {
    let now = app.clock.now();
    let counted = tx.usage().count(metric, metric.period(now).0, 1).await?;
    let quota = Quota::new(metric, counted.plan, counted.used, now);
    if counted.admitted { Ok(quota) } else { Err(Error::QuotaExceeded(quota)) }
}

/// Where the organisation stands, without counting anything: for the repeated reply to a request that was counted.
pub(crate) async fn standing(app: &App, tx: &mut dyn TenantTx, metric: Metric) -> Result<Quota> {
    let now = app.clock.now();
    let (plan, used) = tx.usage().find(metric, metric.period(now).0).await?;
    Ok(Quota::new(metric, plan, used, now))
}

/// Forgets what was counted in periods long gone; says how many.
pub(crate) async fn forget_old(app: &App) -> Result<u64> {
    let today = app.clock.now().date_naive();
    let mut tx = app.store.system(SystemTask::ForgetUsage).await?;
    let forgotten = tx.old_usage().delete_before(today.checked_sub_days(KEPT).unwrap_or(today)).await?;
    tx.commit().await?;
    Ok(forgotten)
}
