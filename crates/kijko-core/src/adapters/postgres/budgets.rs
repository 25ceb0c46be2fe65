//! Budgets and what was spent. Every change of the sums goes through the functions of the schema `app`.

use async_trait::async_trait;
use chrono::NaiveDate;
use rust_decimal::Decimal;
use sqlx::types::Uuid;

use super::errors::translate;
use super::tx::{PgSystemTx, PgTenantTx};
use crate::domain::budgets::{Budget, BudgetNotice, BudgetRefusal, skill_of};
use crate::domain::ids::{OrganizationId, SkillId};
use crate::domain::time::Timestamp;
use crate::domain::usage::Metric;
use crate::error::Result;
use crate::ports::budgets::{AllUsageRepo, BudgetNoticeRepo, BudgetRepo};

#[async_trait]
impl BudgetRepo for PgTenantTx {
    async fn find(&mut self, skill: Option<SkillId>, month: NaiveDate) -> Result<Budget> {
        let row = sqlx::query!(
            r#"SELECT b.limit_usd AS "limit_usd?",
                      coalesce(s.spent_usd, 0) AS "spent_usd!", coalesce(s.reserved_usd, 0) AS "reserved_usd!"
                 FROM organizations o
                 LEFT JOIN budgets b ON b.organization_id = o.id AND b.subject_id = coalesce($1, o.id)
                 LEFT JOIN spending s
                        ON s.organization_id = o.id AND s.subject_id = coalesce($1, o.id) AND s.month = $2"#,
            skill.map(|skill| skill.0),
            month,
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)?;
        Ok(Budget::new(month, row.limit_usd, row.spent_usd, row.reserved_usd))
    }

    async fn set(
        &mut self,
        skill: Option<SkillId>,
        limit: Option<Decimal>,
        month: NaiveDate,
        now: Timestamp,
    ) -> Result<bool> {
        sqlx::query_scalar!(
            r#"SELECT app.set_budget($1, $2, $3, $4) AS "done!""#,
            skill.map(|skill| skill.0),
            limit,
            month,
            now,
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)
    }

    async fn reserve(
        &mut self,
        skill: Option<SkillId>,
        month: NaiveDate,
        amount: Decimal,
    ) -> Result<Option<BudgetRefusal>> {
        let row = sqlx::query!(
            r#"SELECT admitted AS "admitted!", of_skill, allowed, used FROM app.reserve_cost($1, $2, $3)"#,
            skill.map(|skill| skill.0),
            month,
            amount,
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)?;
        if row.admitted {
            return Ok(None);
        }
        Ok(Some(BudgetRefusal {
            skill_id: skill.filter(|_| row.of_skill == Some(true)),
            month,
            limit: row.allowed.unwrap_or_default(),
            used: row.used.unwrap_or_default(),
            required: amount,
        }))
    }
}

#[async_trait]
impl AllUsageRepo for PgSystemTx {
    async fn used(&mut self, organization: OrganizationId, metric: Metric, period: NaiveDate) -> Result<i64> {
        let used = sqlx::query_scalar!(
            "SELECT used FROM usage_counters WHERE organization_id = $1 AND metric = $2 AND period = $3",
            organization.0,
            metric.as_str(),
            period,
        );
        Ok(used.fetch_optional(self.conn()).await.map_err(translate)?.unwrap_or(0))
    }

    async fn budget(&mut self, organization: OrganizationId, month: NaiveDate) -> Result<Budget> {
        let row = sqlx::query!(
            r#"SELECT b.limit_usd AS "limit_usd?",
                      coalesce(s.spent_usd, 0) AS "spent_usd!", coalesce(s.reserved_usd, 0) AS "reserved_usd!"
                 FROM organizations o
                 LEFT JOIN budgets b ON b.organization_id = o.id AND b.subject_id = o.id
                 LEFT JOIN spending s ON s.organization_id = o.id AND s.subject_id = o.id AND s.month = $2
                WHERE o.id = $1"#,
            organization.0,
            month,
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)?;
        Ok(Budget::new(month, row.limit_usd, row.spent_usd, row.reserved_usd))
    }
}

#[async_trait]
impl BudgetNoticeRepo for PgSystemTx {
    async fn take(
        &mut self,
        organization: OrganizationId,
        subject: Uuid,
        month: NaiveDate,
    ) -> Result<Option<BudgetNotice>> {
        let row = sqlx::query!(
            r#"WITH old AS (
                   SELECT s.organization_id, s.subject_id, s.month, s.announced_percent, b.limit_usd
                     FROM spending s JOIN budgets b USING (organization_id, subject_id)
                    WHERE s.organization_id = $1 AND s.subject_id = $2 AND s.month = $3
                      AND s.announced_percent < s.noted_percent
                      FOR UPDATE OF s)
               UPDATE spending s SET announced_percent = s.noted_percent FROM old
                WHERE s.organization_id = old.organization_id AND s.subject_id = old.subject_id AND s.month = old.month
            RETURNING old.announced_percent AS "before!", s.noted_percent, s.spent_usd, old.limit_usd AS "limit_usd!""#,
            organization.0,
            subject,
            month,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        Ok(row.map(|row| BudgetNotice {
            organization_id: organization,
            skill_id: skill_of(organization, subject),
            month,
            limit: row.limit_usd,
            spent: row.spent_usd,
            percents: BudgetNotice::percents(row.before, row.noted_percent),
        }))
    }

    async fn recipients(&mut self, organization: OrganizationId) -> Result<Vec<String>> {
        sqlx::query_scalar!(
            "SELECT email FROM organization_members
              WHERE organization_id = $1 AND status = 'active' AND role IN ('owner', 'admin') ORDER BY email LIMIT 100",
            organization.0,
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)
    }
}
