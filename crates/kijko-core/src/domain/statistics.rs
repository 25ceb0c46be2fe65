//! What the executions of a person add up to: sums by day, hour or skill, and the statistics that are made of them.
//! Days and hours are UTC. Integers throughout; each formula says how it rounds.

use chrono::{DateTime, NaiveDate, TimeDelta, Timelike};
use serde::Serialize;

use crate::domain::executions::{ExecutionFilter, ExecutionStatus, ExecutionType};
use crate::domain::time::Timestamp;
use crate::domain::vocabulary::vocabulary;

mod overviews;
mod periods;
mod rankings;

pub use overviews::{CostBreakdown, DayCost, DayTokens, ExecutionStats, Performance, Projection, SkillStats, TopSkill};
pub use periods::{DayRuns, Granularity, Period, PeriodStats, SkillPeriodStats, SkillRuns, StatsPeriod, by_period};
pub use rankings::{SkillCost, SkillSums, SkillUsage};

/// What executions add up to. What is missing on one counts as 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub executions: i64,
    pub tokens: i64,
    pub cost_cents: i64,
    pub duration_ms: i64,
    /// Those that have a duration.
    pub timed: i64,
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.executions += other.executions;
        self.tokens += other.tokens;
        self.cost_cents += other.cost_cents;
        self.duration_ms += other.duration_ms;
        self.timed += other.timed;
    }
}

impl std::iter::Sum for Sums {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sums, next| {
            sums += next;
            sums
        })
    }
}

/// The executions of one day, type and status.
#[derive(Clone, Copy, Debug)]
pub struct DaySums {
    pub day: NaiveDate,
    pub execution_type: ExecutionType,
    pub status: ExecutionStatus,
    pub sums: Sums,
}

impl DaySums {
    fn is(&self, status: ExecutionStatus) -> bool {
        self.status == status
    }

    /// Completed or failed: it ran to its end.
    fn ran(&self) -> bool {
        self.is(ExecutionStatus::Completed) || self.is(ExecutionStatus::Failed)
    }
}

fn sum<'a>(days: impl IntoIterator<Item = &'a DaySums>, wanted: impl Fn(&DaySums) -> bool) -> Sums {
    days.into_iter().filter(|day| wanted(day)).map(|day| day.sums).sum()
}

/// Completed executions with a duration above zero, of one hour of the day.
#[derive(Clone, Copy, Debug)]
pub struct HourDurations {
    pub hour: u32,
    pub count: i64,
    pub duration_ms: i64,
}

/// Completed executions with a duration above zero, of all time. Each percentile is the duration at place
/// `floor(count · XX / 100)`, counted from 0, in ascending order; 0 when there is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Durations {
    pub count: i64,
    pub sum_ms: i64,
    pub p50_ms: i64,
    pub p90_ms: i64,
    pub p99_ms: i64,
}

impl Durations {
    /// Rounded down.
    pub fn average_ms(&self) -> i64 {
        floored(self.sum_ms, self.count)
    }
}

/// `part / whole` as a whole percentage, rounded half up; 0 of nothing.
fn percentage(part: i64, whole: i64) -> i64 {
    rounded(100 * part, whole)
}

/// Half up. 0 of nothing.
fn rounded(sum: i64, count: i64) -> i64 {
    if count == 0 { 0 } else { (2 * sum + count).div_euclid(2 * count) }
}

/// Down. 0 of nothing.
fn floored(sum: i64, count: i64) -> i64 {
    if count == 0 { 0 } else { sum.div_euclid(count) }
}

/// The `count` days that end with this one, ascending.
fn days_until(today: NaiveDate, count: u32) -> impl Iterator<Item = NaiveDate> {
    (0..count).rev().map(move |back| today - TimeDelta::days(i64::from(back)))
}

/// From 00:00 UTC of the first of the `days` days that end today, until now.
pub fn last_days(days: u32, now: Timestamp) -> ExecutionFilter {
    let first = now.date_naive() - TimeDelta::days(i64::from(days) - 1);
    ExecutionFilter {
        from: Some(first.and_time(chrono::NaiveTime::MIN).and_utc()),
        to: Some(now),
        ..Default::default()
    }
}

/// How many executions there are of each type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ByType {
    pub manual: i64,
    pub habit: i64,
    pub reflex: i64,
    pub api: i64,
}

impl ByType {
    fn of<'a>(days: impl IntoIterator<Item = &'a DaySums>, value: impl Fn(&Sums) -> i64) -> Self {
        let mut counts = Self::default();
        for day in days {
            let count = match day.execution_type {
                ExecutionType::Manual => &mut counts.manual,
                ExecutionType::Habit => &mut counts.habit,
                ExecutionType::Reflex => &mut counts.reflex,
                ExecutionType::Api => &mut counts.api,
            };
            *count += value(&day.sums);
        }
        counts
    }
}

/// How many executions there are in each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ByStatus {
    pub pending: i64,
    pub running: i64,
    pub completed: i64,
    pub failed: i64,
    pub cancelled: i64,
}

impl ByStatus {
    fn of(days: &[DaySums]) -> Self {
        let count = |status| sum(days, |day| day.is(status)).executions;
        Self {
            pending: count(ExecutionStatus::Pending),
            running: count(ExecutionStatus::Running),
            completed: count(ExecutionStatus::Completed),
            failed: count(ExecutionStatus::Failed),
            cancelled: count(ExecutionStatus::Cancelled),
        }
    }
}

/// A span of time, cut where whole hours begin and end: what lies between is known by the hour, the rest is looked at
/// execution by execution. Each part goes up to the beginning of the next and not further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub from: Timestamp,
    pub first_hour: Timestamp,
    pub end_of_hours: Timestamp,
    pub end: Timestamp,
}

impl Cut {
    /// `to` belongs to it. The database knows microseconds.
    pub fn new(from: Option<Timestamp>, to: Option<Timestamp>) -> Self {
        let from = from.unwrap_or(DateTime::UNIX_EPOCH - TimeDelta::days(365 * 1969));
        let end = to.unwrap_or(DateTime::UNIX_EPOCH + TimeDelta::days(365 * 8000)) + TimeDelta::microseconds(1);
        let (first_hour, end_of_hours) =
            (hour_of(from + TimeDelta::hours(1) - TimeDelta::microseconds(1)), hour_of(end));
        if first_hour > end_of_hours {
            return Self { from, first_hour: end, end_of_hours: end, end };
        }
        Self { from, first_hour, end_of_hours, end }
    }
}

fn hour_of(moment: Timestamp) -> Timestamp {
    let into = TimeDelta::seconds(i64::from(moment.minute() * 60 + moment.second()))
        + TimeDelta::nanoseconds(i64::from(moment.nanosecond()));
    moment - into
}

vocabulary!(
    /// By what skills are compared, the most first.
    Ranking { Executions = "executions", Cost = "cost" }
);

/// Which skills a ranking shows.
#[derive(Clone, Debug)]
pub struct SkillsBy {
    pub ranking: Ranking,
    /// Executions in other states do not count.
    pub statuses: &'static [ExecutionStatus],
    pub limit: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Timestamp {
        DateTime::parse_from_rfc3339(text).expect("a moment").to_utc()
    }

    #[test]
    fn rounding_is_half_up_or_down_and_nothing_is_zero() {
        assert_eq!((rounded(1, 2), rounded(5, 3), rounded(4, 3), rounded(0, 5), rounded(7, 0)), (1, 2, 1, 0, 0));
        assert_eq!((floored(5, 3), floored(0, 0)), (1, 0));
        assert_eq!((percentage(1, 3), percentage(2, 3), percentage(1, 8), percentage(0, 0)), (33, 67, 13, 0));
    }

    #[test]
    fn a_span_is_cut_at_whole_hours() {
        let cut = |from: &str, to: &str| {
            let cut = Cut::new(Some(moment(from)), Some(moment(to)));
            [cut.from, cut.first_hour, cut.end_of_hours, cut.end].map(|m| m.format("%dT%H:%M:%S%.6f").to_string())
        };
        assert_eq!(
            cut("2026-01-01T10:20:00Z", "2026-01-02T03:04:05Z"),
            ["01T10:20:00.000000", "01T11:00:00.000000", "02T03:00:00.000000", "02T03:04:05.000001"]
        );
        assert_eq!(
            cut("2026-01-01T00:00:00Z", "2026-01-01T23:59:59.999999Z"),
            ["01T00:00:00.000000", "01T00:00:00.000000", "02T00:00:00.000000", "02T00:00:00.000000"]
        );
        let within_an_hour = cut("2026-01-01T10:20:00Z", "2026-01-01T10:40:00Z");
        assert_eq!(
            within_an_hour[1..],
            [within_an_hour[3].clone(), within_an_hour[3].clone(), within_an_hour[3].clone()]
        );
        let at_once = cut("2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z");
        assert_eq!(at_once[0], at_once[1], "the one microsecond is an edge: {at_once:?}");
    }
}
