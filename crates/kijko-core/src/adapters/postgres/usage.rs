//! What organisations use of their plans. Counting goes through `app.count_usage` alone.

use async_trait::async_trait;
use chrono::NaiveDate;
use serde_json::{Map, Value};

use super::errors::translate;
use super::tx::{PgSystemTx, PgTenantTx};
use crate::domain::plans::Plan;
use crate::domain::usage::Metric;
use crate::error::{Error, Result};
use crate::ports::usage::{Counted, OldUsageRepo, UsageRepo};

/// An organisation on a plan that this program does not know has the smallest.
fn plan(text: &str) -> Plan {
    Plan::parse(text).unwrap_or(Plan::Free)
}

/// What each plan allows, so that one statement can look up the plan and count.
fn limits(metric: Metric) -> Value {
    let limit = |plan: &Plan| (plan.as_str().to_owned(), metric.limit(*plan).into());
    Value::Object(Plan::ALL.iter().map(limit).collect::<Map<_, _>>())
}

#[async_trait]
impl UsageRepo for PgTenantTx {
    async fn count(&mut self, metric: Metric, period: NaiveDate, amount: i64) -> Result<Counted> {
        let row = sqlx::query!(
            r#"SELECT o.plan, c.used AS "used!", c.admitted AS "admitted!"
                 FROM organizations o,
                      app.count_usage($1, $2, $3, coalesce($4::jsonb ->> o.plan, $4::jsonb ->> 'free')::bigint) c"#,
            metric.as_str(),
            period,
            amount,
            limits(metric),
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)?;
        Ok(Counted { admitted: row.admitted, plan: plan(&row.plan), used: row.used })
    }

    async fn find(&mut self, metric: Metric, period: NaiveDate) -> Result<(Plan, i64)> {
        let row = sqlx::query!(
            r#"SELECT o.plan, coalesce(c.used, 0) AS "used!"
                 FROM organizations o
                 LEFT JOIN usage_counters c ON c.organization_id = o.id AND c.metric = $1 AND c.period = $2"#,
            metric.as_str(),
            period,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        let row = row.ok_or_else(|| Error::internal("reading usage", "the organisation is gone"))?;
        Ok((plan(&row.plan), row.used))
    }
}

#[async_trait]
impl OldUsageRepo for PgSystemTx {
    async fn delete_before(&mut self, day: NaiveDate) -> Result<u64> {
        let done = sqlx::query!("DELETE FROM usage_counters WHERE period < $1", day)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(done.rows_affected())
    }
}
