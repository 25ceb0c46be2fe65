//! Random histories, each compared with the brute force in every statistic and in the totals of lists. A failure names
//! the seed of its history.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::UNKNOWN;
use super::brute_force::{BruteForce, Selection};
use super::history::{Dice, Run, STATUSES, TYPES, become_tenant, rows};
use crate::harness::{Installation, Person};

/// Where time stands: any moment, the end of a month, the leap day and the day after, New Year in the middle of a week.
const NOWS: [&str; 5] = [
    "2027-03-17T15:42:10.123456Z",
    "2027-04-30T23:59:59.999999Z",
    "2028-02-29T12:00:00Z",
    "2028-03-01T00:00:00Z",
    "2027-01-01T00:30:00.5Z",
];

struct Somebody {
    person: Person,
    skills: Vec<String>,
}

async fn somebody(person: Person) -> Somebody {
    let mut skills = Vec::new();
    for name in ["Zeta", "Alpha", "Gamma 2", "Beta", "Omega", "Never run", "Eta"] {
        skills.push(person.create_skill(name).await);
    }
    person.put(&format!("/api/v1/skills/{}", skills[3]), json!({ "isActive": false })).await.ok(200);
    Somebody { person, skills }
}

impl Somebody {
    async fn live(&self, app: &Installation, dice: &mut Dice, now: DateTime<Utc>) {
        let runnable: Vec<String> = [&self.skills[..5], &self.skills[6..]].concat();
        let runs = (0..20 + dice.below(30)).map(|_| Run::random(dice, &runnable, now).sql()).collect::<String>();
        let sql = format!("BEGIN; {} {runs} COMMIT", become_tenant(&self.person));
        let mut connection = app.superuser.acquire().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await.expect("the functions take it");
    }

    /// Every statistic is what the rows say.
    async fn check(&self, app: &Installation, dice: &mut Dice, now: DateTime<Utc>, seed: u64) {
        let (rows, skills) = rows(app, &self.person).await;
        let truth = BruteForce { rows, skills, now };
        let same = async |path: String, expected: Value| {
            let reply = self.person.get(&format!("/api/v1/{path}")).await.ok(200);
            assert_eq!(reply, expected, "{path}, with seed {seed}");
        };
        same("skills/stats".to_owned(), truth.skill_stats()).await;
        for (period, days) in [("7d", 7), ("30d", 30), ("90d", 90)] {
            same(format!("skills/stats/aggregated?period={period}"), truth.aggregated(days)).await;
            let skill = dice.pick(&self.skills);
            if truth.skills.iter().any(|row| row.id == *skill) {
                same(format!("skills/{skill}/stats?period={period}"), truth.period_stats(days, Some(skill))).await;
                same(format!("skills/stats/percentiles?skillId={skill}"), truth.percentiles(Some(skill))).await;
            }
            same(format!("executions/performance?skillId={skill}"), truth.performance(Some(skill))).await;
        }
        same("skills/stats/percentiles".to_owned(), truth.percentiles(None)).await;
        same("executions/performance".to_owned(), truth.performance(None)).await;
        same(format!("executions/performance?skillId={UNKNOWN}"), truth.performance(Some(&UNKNOWN.to_owned()))).await;
        let ahead = 1 + dice.signed(365);
        same(format!("skills/stats/projection?daysAhead={ahead}"), truth.projection(ahead)).await;
        for limit in [1, 3, 100] {
            same(format!("executions/stats/by-skill?limit={limit}"), truth.by_skill(limit)).await;
        }
        for granularity in ["day", "week", "month"] {
            let days = 1 + dice.signed(120);
            let path = format!("executions/stats/by-period?days={days}&granularity={granularity}");
            same(path, truth.by_period(days, granularity)).await;
        }
        for _ in 0..12 {
            self.check_selection(&truth, dice, seed).await;
        }
    }

    async fn check_selection(&self, truth: &BruteForce, dice: &mut Dice, seed: u64) {
        let (selection, query) = selection(dice, truth, &self.skills);
        let get =
            async |path: &str, more: &str| self.person.get(&format!("/api/v1/{path}?{query}{more}")).await.ok(200);
        let without = Selection { status: None, kind: None, ..selection.clone() };
        assert_eq!(get("executions/stats", "").await, truth.execution_stats(&without), "{query}, with seed {seed}");
        let span = Selection { skill: None, ..without };
        let cost = get("executions/cost-breakdown", "").await;
        assert_eq!(cost, truth.cost_breakdown(&span), "cost of {query}, with seed {seed}");
        let list = get("executions", "&limit=1").await;
        assert_eq!(list["total"], truth.selected(&selection).len(), "the list of {query}, with seed {seed}");
    }
}

/// A random selection, and as the query of a request.
fn selection(dice: &mut Dice, truth: &BruteForce, skills: &[String]) -> (Selection, String) {
    let edge = |dice: &mut Dice| match dice.below(3) {
        _ if truth.rows.is_empty() => truth.now,
        // At an execution, and within its hour.
        0 => dice.pick(&truth.rows).executed_at,
        1 => dice.pick(&truth.rows).executed_at + TimeDelta::microseconds(dice.signed(600_000_000)),
        _ => dice.moment(truth.now),
    };
    let (mut from, mut to) = ((!dice.one_in(3)).then(|| edge(dice)), (!dice.one_in(3)).then(|| edge(dice)));
    if let (Some(a), Some(b)) = (from, to) {
        (from, to) = (Some(a.min(b)), Some(a.max(b)));
    }
    if from.is_some() && dice.one_in(4) {
        to = from;
    }
    let selection = Selection {
        skill: dice.one_in(2).then(|| dice.pick(skills).clone()),
        from,
        to,
        status: dice.one_in(2).then(|| *dice.pick(&STATUSES)),
        kind: dice.one_in(2).then(|| *dice.pick(&TYPES)),
    };
    let moment = |moment: DateTime<Utc>| moment.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let parts = [
        ("skillId", selection.skill.clone()),
        ("startDate", from.map(moment)),
        ("endDate", to.map(moment)),
        ("status", selection.status.map(str::to_owned)),
        ("executionType", selection.kind.map(str::to_owned)),
    ];
    let query: Vec<String> = parts.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?))).collect();
    (selection, query.join("&"))
}

async fn history(seed: u64) {
    let mut dice = Dice::new(seed);
    let mut app = Installation::new().await;
    app.leave_jobs();
    let now = DateTime::parse_from_rfc3339(NOWS[usize::try_from(seed).unwrap() % NOWS.len()]).unwrap().to_utc();
    app.clock.set(now);
    let ada = somebody(app.owner().await).await;
    let bob = somebody(app.member(&ada.person, "member").await).await;
    let eve = somebody(app.stranger().await).await;
    let all = [&ada, &bob, &eve];
    for one in all {
        one.live(&app, &mut dice, now).await;
    }
    let counted = app.count("execution_statistics").await;
    assert!(counted > 100, "only {counted} entries: did anything happen, with seed {seed}?");
    ada.check(&app, &mut dice, now, seed).await;
    // Skills go, with what waits and runs of them; old executions go; some of it is merged before and some after.
    ada.person.delete(&format!("/api/v1/skills/{}", ada.skills[0])).await.ok(200);
    if dice.one_in(2) {
        app.run_jobs().await;
    }
    let days = 1 + dice.below(60);
    ada.person.delete(&format!("/api/v1/executions/cleanup?olderThanDays={days}")).await.ok(200);
    eve.person.delete(&format!("/api/v1/skills/{}", eve.skills[1])).await.ok(200);
    for one in all {
        one.check(&app, &mut dice, now, seed).await;
    }
    app.run_jobs().await;
    ada.person.delete(&format!("/api/v1/skills/{}", ada.skills[1])).await.ok(200);
    let left = Somebody { skills: ada.skills[2..].to_vec(), ..ada };
    for one in [&left, &bob, &eve] {
        one.check(&app, &mut dice, now, seed).await;
    }
    ada_after_all(&app, &left, &mut dice, now, seed).await;
}

/// When everything is gone, nothing is left of it either.
async fn ada_after_all(app: &Installation, ada: &Somebody, dice: &mut Dice, now: DateTime<Utc>, seed: u64) {
    app.clock.advance(TimeDelta::days(2));
    let person = app.signed_in_again(&ada.person).await;
    let ada = Somebody { person, skills: ada.skills.clone() };
    ada.person.delete("/api/v1/executions/cleanup?olderThanDays=1").await.ok(200);
    ada.check(app, dice, now + TimeDelta::days(2), seed).await;
    app.run_jobs().await;
    let whose =
        format!("user_id = '{}' AND organization_id = '{}'", ada.person.user_id(), ada.person.organization_id());
    let ended = app.count(&format!("skill_executions WHERE {whose} AND completed_at IS NOT NULL")).await;
    assert_eq!(ended, 0, "the cleanup leaves nothing that ended, with seed {seed}");
    assert_eq!(app.count(&format!("execution_statistics WHERE {whose}")).await, 0, "with seed {seed}");
}

#[tokio::test]
async fn statistics_are_what_the_executions_add_up_to() {
    // One beside the other would only wait for the same two processors.
    for seed in 0..10 {
        history(seed).await;
    }
}

/// What locks executions and counters in different orders: costs that become known while their skill is deleted, with
/// ends, merges and a cleanup beside it.
#[tokio::test]
async fn what_happens_at_the_same_time_is_counted_once_and_nobody_waits_for_ever() {
    let mut app = Installation::new().await;
    app.leave_jobs();
    let mut dice = Dice::new(7);
    let now = DateTime::parse_from_rfc3339(NOWS[0]).unwrap().to_utc();
    app.clock.set(now);
    let ada = somebody(app.owner().await).await;
    let (doomed, kept) = (&ada.skills[0], &ada.skills[1..]);
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(8)
        .connect_lazy_with(crate::harness::cluster::options("postgres", &app.database));
    let as_ada = |sql: &str| {
        let sql = format!("BEGIN; {} {sql} COMMIT", become_tenant(&ada.person));
        let pool = pool.clone();
        async move {
            let mut connection = pool.acquire().await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await.expect("no deadlock, no failure");
        }
    };
    let cancelled = || Run {
        status: "cancelled",
        at: Some(now),
        duration: None,
        // Left out below, so that it can become known later.
        is_late: true,
        ..Run::completed(doomed)
    };
    let end = |sql: String| sql.split("SELECT app.record_usage").next().unwrap_or_default().to_owned();
    let cancelled: Vec<String> = (0..20).map(|_| end(cancelled().sql())).collect();
    as_ada(&cancelled.concat()).await;
    for _ in 0..10 {
        ada.person.execute(doomed, json!({})).await;
    }
    let costs: Vec<String> = sqlx::query_scalar("SELECT id::text FROM skill_executions WHERE status = 'cancelled'")
        .fetch_all(&app.superuser)
        .await
        .unwrap()
        .into_iter()
        .map(|id: String| {
            format!("SELECT app.record_usage('{id}', 10, 5, 2, 0.02, 'p', 'm', NULL, NULL, 1::smallint);")
        })
        .collect();
    assert_eq!(costs.len(), 20);
    let runs: Vec<String> = (0..40).map(|_| Run::random(&mut dice, kept, now).sql()).collect();
    let deletion = async {
        ada.person.delete(&format!("/api/v1/skills/{doomed}")).await.ok(200);
    };
    let cleanup = async {
        ada.person.delete("/api/v1/executions/cleanup?olderThanDays=30").await.ok(200);
    };
    let written = futures_util::future::join_all(costs.iter().chain(&runs).map(|sql| as_ada(sql)));
    tokio::join!(deletion, cleanup, app.run_jobs(), written);
    ada.check(&app, &mut dice, now, 7).await;
    app.run_jobs().await;
    ada.check(&app, &mut dice, now, 7).await;
}
