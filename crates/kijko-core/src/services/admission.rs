//! What every run must pass before it waits for a worker, whatever it is a run of.

use crate::app::App;
use crate::domain::usage::{Metric, Quota};
use crate::error::{Code, Error, Result};
use crate::ports::TenantTx;
use crate::services::usage;

/// Makes room for one more run, if this transaction commits.
/// Refuses, in this order, with `TOO_MANY_ACTIVE_EXECUTIONS`, `QUOTA_EXCEEDED`.
pub(crate) async fn admit(app: &App, tx: &mut dyn TenantTx) -> Result<Quota> {
    let (used, limit) = (tx.executions().count_active().await?, app.config.runs.max_active);
    if used >= limit {
        return Err(Error::LimitReached { code: Code::TooManyActiveExecutions, limit, used });
    }
    usage::count(app, tx, Metric::ApiCalls).await
}
