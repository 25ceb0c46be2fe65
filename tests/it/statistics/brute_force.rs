//! The statistics again, from every row each time, in the words of the contract: slow, and simple enough to be believed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Timelike, Utc};
use serde_json::{Map, Value, json};

use super::history::{Row, STATUSES, SkillRow, TYPES};

pub struct BruteForce {
    pub rows: Vec<Row>,
    pub skills: Vec<SkillRow>,
    pub now: DateTime<Utc>,
}

/// What a statistic is asked about.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub skill: Option<String>,
    pub from: Option<DateTime<Utc>>,
    pub to: Option<DateTime<Utc>>,
    pub status: Option<&'static str>,
    pub kind: Option<&'static str>,
}

fn tokens(row: &Row) -> i64 {
    row.prompt_tokens.zip(row.completion_tokens).map_or(0, |(prompt, completion)| prompt + completion)
}

fn cost(row: &Row) -> i64 {
    row.cost_cents.unwrap_or(0)
}

fn total(rows: &[&Row], value: impl Fn(&Row) -> i64) -> i64 {
    rows.iter().map(|row| value(row)).sum()
}

fn ran(row: &Row) -> bool {
    row.status == "completed" || row.status == "failed"
}

fn by(rows: &[&Row], values: &[&str], key: impl Fn(&Row) -> &str, value: impl Fn(&Row) -> i64) -> Value {
    let entry = |name: &&str| {
        let of: i64 = rows.iter().filter(|row| key(row) == *name).map(|row| value(row)).sum();
        ((*name).to_owned(), json!(of))
    };
    Value::Object(values.iter().map(entry).collect::<Map<_, _>>())
}

fn by_type(rows: &[&Row]) -> Value {
    by(rows, &TYPES, |row| &row.execution_type, |_| 1)
}

fn by_status(rows: &[&Row]) -> Value {
    by(rows, &STATUSES, |row| &row.status, |_| 1)
}

fn count(rows: &[&Row], status: &str) -> i64 {
    i64::try_from(rows.iter().filter(|row| row.status == status).count()).unwrap()
}

/// Half up.
fn round(numerator: i64, denominator: i64) -> i64 {
    if denominator == 0 {
        return 0;
    }
    let (whole, rest) = (numerator / denominator, numerator % denominator);
    if rest * 2 >= denominator { whole + 1 } else { whole }
}

fn floor(numerator: i64, denominator: i64) -> i64 {
    if denominator == 0 { 0 } else { numerator / denominator }
}

fn len<T>(list: &[T]) -> i64 {
    i64::try_from(list.len()).unwrap()
}

impl BruteForce {
    fn today(&self) -> NaiveDate {
        self.now.date_naive()
    }

    fn day(&self, back: i64) -> NaiveDate {
        self.today() - TimeDelta::days(back)
    }

    pub fn selected(&self, by: &Selection) -> Vec<&Row> {
        let fits = |row: &&Row| {
            by.skill.as_ref().is_none_or(|skill| row.skill_id.as_ref() == Some(skill))
                && by.from.is_none_or(|from| row.executed_at >= from)
                && by.to.is_none_or(|to| row.executed_at <= to)
                && by.status.is_none_or(|status| row.status == status)
                && by.kind.is_none_or(|kind| row.execution_type == kind)
        };
        self.rows.iter().filter(fits).collect()
    }

    fn name(&self, skill: &str) -> &str {
        &self.skills.iter().find(|s| s.id == skill).expect("a row names a skill that exists").name
    }

    fn skill_ids(rows: &[&Row]) -> BTreeSet<String> {
        rows.iter().filter_map(|row| row.skill_id.clone()).collect()
    }

    pub fn skill_stats(&self) -> Value {
        let all: Vec<&Row> = self.rows.iter().collect();
        let mut top: Vec<&SkillRow> = self.skills.iter().collect();
        top.sort_by_key(|skill| (Reverse(skill.execution_count), skill.name.clone()));
        let top: Vec<Value> = top
            .iter()
            .take(5)
            .map(|skill| json!({ "skillId": skill.id, "name": skill.name, "count": skill.execution_count }))
            .collect();
        json!({
            "totalSkills": self.skills.len(),
            "activeSkills": self.skills.iter().filter(|skill| skill.is_active).count(),
            "totalExecutions": all.len(),
            "totalTokensUsed": total(&all, tokens),
            "totalCostCents": total(&all, cost),
            "executionsByStatus": by_status(&all),
            "executionsByType": by_type(&all),
            "topSkillsByUsage": top,
        })
    }

    pub fn execution_stats(&self, selection: &Selection) -> Value {
        let all = self.selected(selection);
        let completed: Vec<&Row> = all.iter().copied().filter(|row| row.status == "completed").collect();
        let daily: Vec<Value> = (0..14)
            .rev()
            .map(|back| {
                let rows: Vec<&Row> =
                    all.iter().copied().filter(|row| row.executed_at.date_naive() == self.day(back)).collect();
                json!({ "date": self.day(back).to_string(), "count": rows.len(), "tokens": total(&rows, tokens) })
            })
            .collect();
        json!({
            "totalExecutions": all.len(),
            "successfulExecutions": completed.len(),
            "failedExecutions": count(&all, "failed"),
            "cancelledExecutions": count(&all, "cancelled"),
            "totalTokensUsed": total(&completed, tokens),
            "totalCostCents": total(&completed, cost),
            "averageDurationMs": floor(total(&completed, |row| row.duration_ms.unwrap_or(0)), len(&completed)),
            "executionsByType": by_type(&all),
            "executionsByStatus": by_status(&all),
            "dailyExecutions": daily,
        })
    }

    pub fn cost_breakdown(&self, selection: &Selection) -> Value {
        let rows = self.selected(&Selection { status: Some("completed"), ..selection.clone() });
        let mut by_skill: Vec<(i64, String, String, usize)> = Self::skill_ids(&rows)
            .into_iter()
            .map(|skill| {
                let own: Vec<&Row> = rows.iter().copied().filter(|row| row.skill_id.as_ref() == Some(&skill)).collect();
                (-total(&own, cost), self.name(&skill).to_owned(), skill, own.len())
            })
            .collect();
        by_skill.sort();
        let by_skill: Vec<Value> = by_skill
            .into_iter()
            .map(|(cost, name, id, n)| json!({ "skillId": id, "skillName": name, "costCents": -cost, "executionCount": n }))
            .collect();
        let by_day: Vec<Value> = (0..30)
            .rev()
            .map(|back| {
                let rows: Vec<&Row> =
                    rows.iter().copied().filter(|row| row.executed_at.date_naive() == self.day(back)).collect();
                json!({ "date": self.day(back).to_string(), "costCents": total(&rows, cost) })
            })
            .collect();
        json!({
            "totalCostCents": total(&rows, cost),
            "costBySkill": by_skill,
            "costByType": by(&rows, &TYPES, |row| &row.execution_type, cost),
            "costByDay": by_day,
        })
    }

    fn durations(rows: &[&Row]) -> Vec<i64> {
        let completed = rows.iter().filter(|row| row.status == "completed");
        let mut durations: Vec<i64> = completed.filter_map(|row| row.duration_ms).filter(|ms| *ms > 0).collect();
        durations.sort_unstable();
        durations
    }

    fn percentile(durations: &[i64], percent: usize) -> i64 {
        durations.get(durations.len() * percent / 100).copied().unwrap_or(0)
    }

    pub fn performance(&self, skill: Option<&String>) -> Value {
        let rows = self.selected(&Selection { skill: skill.cloned(), ..Selection::default() });
        let durations = Self::durations(&rows);
        let by_hour = (0..24).map(|hour| {
            let of_hour: Vec<&Row> = rows.iter().copied().filter(|row| row.executed_at.hour() == hour).collect();
            let durations = Self::durations(&of_hour);
            json!({ "hour": hour, "avgDurationMs": floor(durations.iter().sum(), len(&durations)) })
        });
        let by_hour: Vec<Value> = if durations.is_empty() { Vec::new() } else { by_hour.collect() };
        json!({
            "averageDurationMs": floor(durations.iter().sum(), len(&durations)),
            "p50DurationMs": Self::percentile(&durations, 50),
            "p90DurationMs": Self::percentile(&durations, 90),
            "p99DurationMs": Self::percentile(&durations, 99),
            "successRate": round(100 * count(&rows, "completed"), count(&rows, "completed") + count(&rows, "failed")),
            "durationByHour": by_hour,
        })
    }

    pub fn percentiles(&self, skill: Option<&String>) -> Value {
        let performance = self.performance(skill);
        json!({
            "p50DurationMs": performance["p50DurationMs"], "p90DurationMs": performance["p90DurationMs"],
            "p99DurationMs": performance["p99DurationMs"], "avgDurationMs": performance["averageDurationMs"],
        })
    }

    fn window(&self, days: i64, skill: Option<&String>) -> Vec<&Row> {
        let from = self.day(days - 1).and_hms_opt(0, 0, 0).unwrap().and_utc();
        self.selected(&Selection {
            skill: skill.cloned(),
            from: Some(from),
            to: Some(self.now),
            ..Selection::default()
        })
    }

    pub fn period_stats(&self, days: i64, skill: Option<&String>) -> Value {
        let all = self.window(days, skill);
        let runs: Vec<&Row> = all.iter().copied().filter(|row| ran(row)).collect();
        let over_time: Vec<Value> = (0..days)
            .rev()
            .map(|back| {
                let rows: Vec<&Row> =
                    runs.iter().copied().filter(|row| row.executed_at.date_naive() == self.day(back)).collect();
                json!({
                    "date": self.day(back).to_string(), "count": rows.len(),
                    "successCount": count(&rows, "completed"), "failureCount": count(&rows, "failed"),
                    "tokens": total(&rows, tokens), "costCents": total(&rows, cost),
                })
            })
            .collect();
        let timed: Vec<i64> =
            runs.iter().filter(|row| row.status == "completed").filter_map(|row| row.duration_ms).collect();
        json!({
            "overview": {
                "totalRuns": runs.len(),
                "successRate": round(100 * count(&runs, "completed"), len(&runs)),
                "avgTokens": round(total(&runs, tokens), len(&runs)),
                "avgDurationMs": floor(timed.iter().sum(), len(&timed)),
                "totalCostCents": total(&runs, cost),
            },
            "executionsOverTime": over_time,
            "executionsByType": by_type(&runs),
            "executionsByStatus": by_status(&all),
        })
    }

    pub fn aggregated(&self, days: i64) -> Value {
        let runs: Vec<&Row> = self.window(days, None).into_iter().filter(|row| ran(row)).collect();
        let of = |skill: &String| runs.iter().filter(|row| row.skill_id.as_ref() == Some(skill)).count();
        let mut skills: Vec<(Reverse<usize>, String, String)> = Self::skill_ids(&runs)
            .into_iter()
            .map(|skill| (Reverse(of(&skill)), self.name(&skill).to_owned(), skill))
            .collect();
        skills.sort();
        let breakdown: Vec<Value> = skills
            .into_iter()
            .take(5)
            .map(|(runs, name, id)| json!({ "skillId": id, "name": name, "runs": runs.0 }))
            .collect();
        let mut stats = self.period_stats(days, None);
        stats["skillBreakdown"] = json!(breakdown);
        stats
    }

    pub fn projection(&self, days_ahead: i64) -> Value {
        let runs: Vec<&Row> = self.window(30, None).into_iter().filter(|row| ran(row)).collect();
        let projected = total(&runs, cost) * days_ahead / 30;
        json!({
            "projectedCostCents": projected,
            "projectedRuns": len(&runs) * days_ahead / 30,
            "averageDailyCost": projected / days_ahead,
        })
    }

    pub fn by_skill(&self, limit: usize) -> Value {
        let all: Vec<&Row> = self.rows.iter().collect();
        let mut skills: Vec<(Reverse<usize>, String, Value)> = Self::skill_ids(&all)
            .into_iter()
            .map(|skill| {
                let own: Vec<&Row> = all.iter().copied().filter(|row| row.skill_id.as_ref() == Some(&skill)).collect();
                let timed: Vec<i64> = own.iter().filter_map(|row| row.duration_ms).collect();
                let mut entry = json!({
                    "skillId": skill, "skillName": self.name(&skill), "totalExecutions": own.len(),
                    "successful": count(&own, "completed"), "failed": count(&own, "failed"),
                    "totalTokens": total(&own, tokens), "totalCostCents": total(&own, cost),
                });
                if !timed.is_empty() {
                    let tenths = round(timed.iter().sum::<i64>() * 10, len(&timed));
                    let average: f64 = format!("{}.{}", tenths / 10, tenths % 10).parse().unwrap();
                    entry["avgDurationMs"] = json!(average);
                }
                (Reverse(own.len()), self.name(&skill).to_owned(), entry)
            })
            .collect();
        skills.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        skills.into_iter().take(limit).map(|(_, _, entry)| entry).collect()
    }

    pub fn by_period(&self, days: i64, granularity: &str) -> Value {
        let mut periods: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
        for row in self.window(days, None) {
            let day = row.executed_at.date_naive();
            let week = day.iso_week();
            let key = match granularity {
                "day" => day.to_string(),
                "week" => format!("{:04}-W{:02}", week.year(), week.week()),
                _ => format!("{:04}-{:02}", day.year(), day.month()),
            };
            periods.entry(key).or_default().push(row);
        }
        let entry = |(period, rows): (String, Vec<&Row>)| {
            json!({
                "period": period, "totalExecutions": rows.len(), "successful": count(&rows, "completed"),
                "failed": count(&rows, "failed"), "totalTokens": total(&rows, tokens), "totalCostCents": total(&rows, cost),
            })
        };
        periods.into_iter().map(entry).collect()
    }
}
