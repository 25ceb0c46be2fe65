//! Statistics over the last days.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::Serialize;

use super::{ByStatus, ByType, DaySums, Sums, days_until, floored, percentage, rounded, sum};
use crate::domain::executions::ExecutionStatus;
use crate::domain::ids::SkillId;
use crate::domain::vocabulary::vocabulary;

vocabulary!(
    /// How many days, today being the last.
    StatsPeriod { Week = "7d", Month = "30d", Quarter = "90d" }
);

impl StatsPeriod {
    pub fn days(self) -> u32 {
        match self {
            StatsPeriod::Week => 7,
            StatsPeriod::Month => 30,
            StatsPeriod::Quarter => 90,
        }
    }
}

/// The runs of some days. A run is an execution that completed or failed.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PeriodStats {
    pub overview: Overview,
    /// One entry for each day, ascending, today being the last.
    pub executions_over_time: Vec<DayRuns>,
    /// Of runs.
    pub executions_by_type: ByType,
    /// Of all executions.
    pub executions_by_status: ByStatus,
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    pub total_runs: i64,
    /// A whole percentage.
    pub success_rate: i64,
    pub avg_tokens: i64,
    /// Of completed runs that have a duration, rounded down.
    pub avg_duration_ms: i64,
    pub total_cost_cents: i64,
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DayRuns {
    pub date: NaiveDate,
    pub count: i64,
    pub success_count: i64,
    pub failure_count: i64,
    pub tokens: i64,
    pub cost_cents: i64,
}

impl PeriodStats {
    /// From the days of the period, and none before it.
    pub fn new(days: &[DaySums], period: StatsPeriod, today: NaiveDate) -> Self {
        let runs: Vec<DaySums> = days.iter().copied().filter(DaySums::ran).collect();
        let over_time = days_until(today, period.days()).map(|date| {
            let of = |status| sum(&runs, |day| day.day == date && day.is(status));
            let (completed, failed) = (of(ExecutionStatus::Completed), of(ExecutionStatus::Failed));
            DayRuns {
                date,
                count: completed.executions + failed.executions,
                success_count: completed.executions,
                failure_count: failed.executions,
                tokens: completed.tokens + failed.tokens,
                cost_cents: completed.cost_cents + failed.cost_cents,
            }
        });
        let (all, completed) = (sum(&runs, |_| true), sum(&runs, |day| day.is(ExecutionStatus::Completed)));
        Self {
            overview: Overview {
                total_runs: all.executions,
                success_rate: percentage(completed.executions, all.executions),
                avg_tokens: rounded(all.tokens, all.executions),
                avg_duration_ms: floored(completed.duration_ms, completed.timed),
                total_cost_cents: all.cost_cents,
            },
            executions_over_time: over_time.collect(),
            executions_by_type: ByType::of(&runs, |sums| sums.executions),
            executions_by_status: ByStatus::of(days),
        }
    }
}

/// The same over all skills, with those that ran most.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SkillPeriodStats {
    #[serde(flatten)]
    pub stats: PeriodStats,
    /// At most 5.
    pub skill_breakdown: Vec<SkillRuns>,
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SkillRuns {
    pub skill_id: SkillId,
    pub name: String,
    pub runs: i64,
}

vocabulary!(
    /// How long a period is: a day, a week from Monday on (ISO 8601), a month.
    Granularity { Day = "day", Week = "week", Month = "month" }
);

/// All executions of one day, week or month.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Period {
    /// `2026-01-31`, `2026-W05` or `2026-01`.
    pub period: String,
    pub total_executions: i64,
    pub successful: i64,
    pub failed: i64,
    pub total_tokens: i64,
    pub total_cost_cents: i64,
}

/// Those that have executions, ascending.
pub fn by_period(days: &[DaySums], granularity: Granularity) -> Vec<Period> {
    let format = match granularity {
        Granularity::Day => "%Y-%m-%d",
        Granularity::Week => "%G-W%V",
        Granularity::Month => "%Y-%m",
    };
    let mut periods: BTreeMap<String, (Sums, i64, i64)> = BTreeMap::new();
    for day in days.iter().filter(|day| day.sums.executions > 0) {
        let (all, completed, failed) = periods.entry(day.day.format(format).to_string()).or_default();
        *all += day.sums;
        match day.status {
            ExecutionStatus::Completed => *completed += day.sums.executions,
            ExecutionStatus::Failed => *failed += day.sums.executions,
            ExecutionStatus::Pending | ExecutionStatus::Running | ExecutionStatus::Cancelled => {}
        }
    }
    let period = |(period, (all, successful, failed)): (String, (Sums, i64, i64))| Period {
        period,
        total_executions: all.executions,
        successful,
        failed,
        total_tokens: all.tokens,
        total_cost_cents: all.cost_cents,
    };
    periods.into_iter().map(period).collect()
}
