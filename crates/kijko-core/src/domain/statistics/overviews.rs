//! Statistics over a selection of executions.

use chrono::NaiveDate;
use serde::Serialize;

use super::{ByStatus, ByType, DaySums, Durations, HourDurations, SkillCost, days_until, floored, percentage, sum};
use crate::domain::executions::ExecutionStatus;
use crate::domain::ids::SkillId;

/// The library and its runs, of all time.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SkillStats {
    pub total_skills: i64,
    pub active_skills: i64,
    pub total_executions: i64,
    pub total_tokens_used: i64,
    pub total_cost_cents: i64,
    pub executions_by_status: ByStatus,
    pub executions_by_type: ByType,
    /// At most 5.
    pub top_skills_by_usage: Vec<TopSkill>,
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TopSkill {
    pub skill_id: SkillId,
    pub name: String,
    /// Completed runs.
    pub count: i64,
}

impl SkillStats {
    pub fn new(days: &[DaySums], total_skills: i64, active_skills: i64, top: Vec<TopSkill>) -> Self {
        let all = sum(days, |_| true);
        Self {
            total_skills,
            active_skills,
            total_executions: all.executions,
            total_tokens_used: all.tokens,
            total_cost_cents: all.cost_cents,
            executions_by_status: ByStatus::of(days),
            executions_by_type: ByType::of(days, |sums| sums.executions),
            top_skills_by_usage: top,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExecutionStats {
    pub total_executions: i64,
    pub successful_executions: i64,
    pub failed_executions: i64,
    pub cancelled_executions: i64,
    /// Of completed executions.
    pub total_tokens_used: i64,
    /// Of completed executions.
    pub total_cost_cents: i64,
    /// Of completed executions, rounded down; without a duration they count as 0.
    pub average_duration_ms: i64,
    pub executions_by_type: ByType,
    pub executions_by_status: ByStatus,
    /// The last 14 days, ascending.
    pub daily_executions: Vec<DayTokens>,
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DayTokens {
    pub date: NaiveDate,
    pub count: i64,
    pub tokens: i64,
}

impl ExecutionStats {
    pub fn new(days: &[DaySums], today: NaiveDate) -> Self {
        let of = |status| sum(days, |day| day.is(status));
        let completed = of(ExecutionStatus::Completed);
        let daily = days_until(today, 14).map(|date| {
            let sums = sum(days, |day| day.day == date);
            DayTokens { date, count: sums.executions, tokens: sums.tokens }
        });
        Self {
            total_executions: sum(days, |_| true).executions,
            successful_executions: completed.executions,
            failed_executions: of(ExecutionStatus::Failed).executions,
            cancelled_executions: of(ExecutionStatus::Cancelled).executions,
            total_tokens_used: completed.tokens,
            total_cost_cents: completed.cost_cents,
            average_duration_ms: floored(completed.duration_ms, completed.executions),
            executions_by_type: ByType::of(days, |sums| sums.executions),
            executions_by_status: ByStatus::of(days),
            daily_executions: daily.collect(),
        }
    }
}

/// What completed executions cost.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CostBreakdown {
    pub total_cost_cents: i64,
    /// The 500 that cost most. What deleted skills cost is in the total alone.
    pub cost_by_skill: Vec<SkillCost>,
    pub cost_by_type: ByType,
    /// The last 30 days, ascending.
    pub cost_by_day: Vec<DayCost>,
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DayCost {
    pub date: NaiveDate,
    pub cost_cents: i64,
}

impl CostBreakdown {
    pub fn new(days: &[DaySums], cost_by_skill: Vec<SkillCost>, today: NaiveDate) -> Self {
        let completed = |day: &&DaySums| day.is(ExecutionStatus::Completed);
        let cost_by_day = days_until(today, 30).map(|date| {
            let cost_cents = sum(days.iter().filter(completed), |day| day.day == date).cost_cents;
            DayCost { date, cost_cents }
        });
        Self {
            total_cost_cents: sum(days, |day| day.is(ExecutionStatus::Completed)).cost_cents,
            cost_by_skill,
            cost_by_type: ByType::of(days.iter().filter(completed), |sums| sums.cost_cents),
            cost_by_day: cost_by_day.collect(),
        }
    }
}

/// How long completed executions took, those that took no time left out.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Performance {
    pub average_duration_ms: i64,
    pub p50_duration_ms: i64,
    pub p90_duration_ms: i64,
    pub p99_duration_ms: i64,
    /// Completed of completed and failed, as a whole percentage.
    pub success_rate: i64,
    /// One entry for each hour of the day, UTC; none when nothing took any time.
    pub duration_by_hour: Vec<HourAverage>,
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HourAverage {
    pub hour: u32,
    pub avg_duration_ms: i64,
}

impl Performance {
    pub fn new(durations: &Durations, hours: &[HourDurations], days: &[DaySums]) -> Self {
        let completed = sum(days, |day| day.is(ExecutionStatus::Completed)).executions;
        let by_hour = (0..24).map(|hour| {
            let of_hour = || hours.iter().filter(|entry| entry.hour == hour);
            let (sum, count) = (of_hour().map(|e| e.duration_ms).sum(), of_hour().map(|e| e.count).sum());
            HourAverage { hour, avg_duration_ms: floored(sum, count) }
        });
        Self {
            average_duration_ms: durations.average_ms(),
            p50_duration_ms: durations.p50_ms,
            p90_duration_ms: durations.p90_ms,
            p99_duration_ms: durations.p99_ms,
            success_rate: percentage(completed, sum(days, DaySums::ran).executions),
            duration_by_hour: if durations.count == 0 { Vec::new() } else { by_hour.collect() },
        }
    }
}

/// What the runs of the last 30 days would come to if they went on like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Projection {
    pub projected_cost_cents: i64,
    pub projected_runs: i64,
    /// In cents.
    pub average_daily_cost: i64,
}

impl Projection {
    /// How many days it looks back.
    pub const BASIS: u32 = 30;

    /// From the days of the basis. Rounds down.
    pub fn new(days: &[DaySums], days_ahead: u32) -> Self {
        let runs = sum(days, DaySums::ran);
        let ahead = |value: i64| floored(value * i64::from(days_ahead), i64::from(Self::BASIS));
        let projected_cost_cents = ahead(runs.cost_cents);
        Self {
            projected_cost_cents,
            projected_runs: ahead(runs.executions),
            average_daily_cost: floored(projected_cost_cents, i64::from(days_ahead)),
        }
    }
}
