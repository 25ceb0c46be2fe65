//! What an organisation may use of its plan in a period, and how much of it is gone.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, Utc};

use crate::domain::plans::Plan;
use crate::domain::time::Timestamp;
use crate::domain::vocabulary::vocabulary;

vocabulary!(
    /// What is counted against a plan: runs that were accepted, ingestions that began, questions that a model answered.
    Metric { ApiCalls = "api_calls", Ingestions = "ingestions", OracleQueries = "oracle_queries" }
);

/// Stands for "as many as you like".
pub const UNLIMITED: i64 = -1;

impl Metric {
    /// How many a plan allows in one period; `UNLIMITED` is a number too.
    pub fn limit(self, plan: Plan) -> i64 {
        match (self, plan) {
            (Metric::ApiCalls, Plan::Free) => 1000,
            (Metric::ApiCalls, Plan::Pro) => 10_000,
            (Metric::ApiCalls, Plan::Teams) => 50_000,
            (Metric::Ingestions, Plan::Free) => 50,
            (Metric::Ingestions, Plan::Pro) => 500,
            (Metric::Ingestions, Plan::Teams) => 2500,
            (Metric::OracleQueries, Plan::Free) => 10,
            (Metric::OracleQueries, Plan::Pro) => 100,
            (Metric::OracleQueries, Plan::Teams) | (_, Plan::Enterprise) => UNLIMITED,
        }
    }

    /// The period that a moment lies in: its first day, and that of the next one. All days are UTC.
    pub fn period(self, now: Timestamp) -> (NaiveDate, NaiveDate) {
        let today = now.date_naive();
        match self {
            Metric::ApiCalls | Metric::Ingestions => month(today),
            Metric::OracleQueries => (today, today.checked_add_days(Days::new(1)).unwrap_or(today)),
        }
    }
}

/// The first day of the month that a day lies in, and that of the next one.
pub fn month(day: NaiveDate) -> (NaiveDate, NaiveDate) {
    let first = day.with_day(1).unwrap_or(day);
    (first, first.checked_add_months(Months::new(1)).unwrap_or(first))
}

/// Where an organisation stands with one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub metric: Metric,
    pub plan: Plan,
    /// `UNLIMITED` for none.
    pub limit: i64,
    /// With the present request, if that was counted.
    pub used: i64,
    /// When counting begins anew.
    pub resets_at: DateTime<Utc>,
    /// Whole seconds until then.
    pub resets_in_seconds: u32,
}

impl Quota {
    pub fn new(metric: Metric, plan: Plan, used: i64, now: Timestamp) -> Self {
        let (_, next) = metric.period(now);
        let resets_at = next.and_time(NaiveTime::MIN).and_utc();
        let seconds = u32::try_from((resets_at - now).num_milliseconds().max(0).unsigned_abs().div_ceil(1000));
        let resets_in_seconds = seconds.unwrap_or(u32::MAX).max(1);
        Self { metric, plan, limit: metric.limit(plan), used, resets_at, resets_in_seconds }
    }

    /// None when there is no limit.
    pub fn remaining(&self) -> Option<i64> {
        (self.limit != UNLIMITED).then(|| (self.limit - self.used).max(0))
    }
}

/// The reply to a request that was counted, and where that leaves the organisation.
#[derive(Clone, Debug)]
pub struct Metered<T> {
    pub reply: T,
    pub quota: Quota,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_the_plans() {
        let limits = |metric: Metric| Plan::ALL.iter().map(|plan| metric.limit(*plan)).collect::<Vec<_>>();
        assert_eq!(limits(Metric::ApiCalls), [1000, 10_000, 50_000, UNLIMITED]);
        assert_eq!(limits(Metric::Ingestions), [50, 500, 2500, UNLIMITED]);
        assert_eq!(limits(Metric::OracleQueries), [10, 100, UNLIMITED, UNLIMITED]);
    }

    #[test]
    fn periods_begin_and_end_at_midnight_utc() {
        let check = |metric: Metric, now: &str, first: &str, resets_at: &str, seconds: u32| {
            let now: Timestamp = now.parse().expect("a moment");
            assert_eq!(metric.period(now).0.to_string(), first);
            let quota = Quota::new(metric, Plan::Free, 3, now);
            assert_eq!(quota.resets_at, resets_at.parse::<Timestamp>().expect("a moment"));
            assert_eq!(quota.resets_in_seconds, seconds);
        };
        check(Metric::ApiCalls, "2026-01-31T23:59:59.999Z", "2026-01-01", "2026-02-01T00:00:00Z", 1);
        check(Metric::ApiCalls, "2026-02-01T00:00:00Z", "2026-02-01", "2026-03-01T00:00:00Z", 28 * 86_400);
        check(Metric::ApiCalls, "2026-12-31T00:00:00.500Z", "2026-12-01", "2027-01-01T00:00:00Z", 86_400);
        check(Metric::OracleQueries, "2028-02-29T12:00:00Z", "2028-02-29", "2028-03-01T00:00:00Z", 43_200);
    }

    #[test]
    fn what_remains_is_never_negative_and_nothing_where_there_is_no_limit() {
        let now = Timestamp::UNIX_EPOCH;
        let remaining = |plan, used| Quota::new(Metric::ApiCalls, plan, used, now).remaining();
        assert_eq!(remaining(Plan::Free, 1), Some(999));
        assert_eq!(remaining(Plan::Free, 2000), Some(0), "after a change to a smaller plan");
        assert_eq!(remaining(Plan::Enterprise, 2000), None);
    }
}
