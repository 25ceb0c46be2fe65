//! What a run must pass before it waits for a worker: limits hold exactly, however many ask at once, and asking again
//! with the same `Idempotency-Key` starts nothing new.

use chrono::{Datelike, Months, NaiveTime, TimeDelta};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Installation, Person, Reply, skill};

#[tokio::test]
async fn the_limit_of_active_runs_holds_in_a_race() {
    let app = Installation::new().await;
    let (ada, eve) = (app.owner().await, app.stranger().await);
    let (skill, theirs) = (ada.create_skill("Summary").await, eve.create_skill("Summary").await);
    let path = format!("/api/v1/skills/{skill}/execute");
    let replies = join_all((0..200).map(|_| ada.post(&path, json!({})))).await;
    let (admitted, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 202);
    assert_eq!(admitted.len(), 20, "the limit is 20, not one more and not one less");
    for reply in refused {
        let refused = reply.refused(429, "TOO_MANY_ACTIVE_EXECUTIONS");
        assert_eq!(refused["details"], json!({ "limit": 20, "used": 20 }));
    }
    eve.execute(&theirs, json!({})).await;
    app.run_jobs().await;
    assert_eq!(app.count("skill_executions WHERE status = 'completed'").await, 21);
    ada.execute(&skill, json!({})).await;
    app.run_jobs().await;
}

#[tokio::test]
async fn a_repeated_request_starts_no_second_run() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (first, other) = (ada.create_skill("First").await, ada.create_skill("Other").await);
    let path = |skill: &str| format!("/api/v1/skills/{skill}/execute");
    let body = json!({ "input": { "text": "x" } });
    let reply = ada.post_once(&path(&first), "run-1", body.clone()).await;
    let location = reply.header("location").expect("an address to look at").to_owned();
    let accepted = reply.ok(202);
    app.run_jobs().await;
    let again = ada.post_once(&path(&first), "run-1", body.clone()).await;
    assert_eq!(again.header("location"), Some(&*location));
    assert_eq!(again.ok(202), accepted, "the same reply, though the run has ended meanwhile");
    let different = json!({ "input": { "text": "y" } });
    ada.post_once(&path(&first), "run-1", different).await.refused(409, "IDEMPOTENCY_CONFLICT");
    ada.post_once(&path(&other), "run-1", body.clone()).await.refused(409, "IDEMPOTENCY_CONFLICT");
    assert_eq!(app.count("skill_executions").await, 1);

    let run = path(&first);
    let replies = join_all((0..12).map(|_| ada.post_once(&run, "run-2", body.clone()))).await;
    let replies: Vec<Value> = replies.into_iter().map(|reply| reply.ok(202)).collect();
    assert!(replies.iter().all(|reply| reply == &replies[0]), "everybody gets what the first one got: {replies:?}");
    assert_eq!(app.count("skill_executions").await, 2);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_refused_run_uses_no_idempotency_key_up() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    let (path, run) = (format!("/api/v1/skills/{skill}"), format!("/api/v1/skills/{skill}/execute"));
    ada.put(&path, json!({ "isActive": false })).await.ok(200);
    ada.post_once(&run, "run-1", json!({})).await.refused(409, "SKILL_INACTIVE");
    ada.put(&path, json!({ "isActive": true })).await.ok(200);
    ada.post_once(&run, "run-1", json!({})).await.ok(202);
    ada.post_once(&run, "", json!({})).await.refused_field(422, "VALIDATION_ERROR", "Idempotency-Key");
    app.run_jobs().await;
}

#[tokio::test]
async fn a_run_that_a_program_asks_for_is_an_api_run_unless_it_says_otherwise() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let id = ada.post("/api/v1/skills", skill("Summary")).await.ok(201)["id"].as_str().unwrap().to_owned();
    let key = json!({ "name": "A machine", "expiration": "never", "scopes": ["read", "write"] });
    let key = ada.post("/api/v1/security/api-keys", key).await.ok(201)["key"].as_str().unwrap().to_owned();
    let machine = app.with_token(&key);
    let by_default = machine.execute(&id, json!({})).await;
    assert_eq!(ada.execution(&by_default).await["executionType"], "api");
    let said = machine.post(&format!("/api/v1/skills/{id}/execute"), json!({ "executionType": "manual" })).await;
    let said = said.ok(202)["executionId"].as_str().unwrap().to_owned();
    assert_eq!(ada.execution(&said).await["executionType"], "manual");
    app.run_jobs().await;
}

/// The first moment of the month after the one that the clock is in, and the Unix seconds of it.
fn next_month(app: &Installation) -> chrono::DateTime<chrono::Utc> {
    let today = app.clock.time().date_naive();
    let first = today.with_day(1).unwrap().checked_add_months(Months::new(1)).unwrap();
    first.and_time(NaiveTime::MIN).and_utc()
}

/// Gives an organisation a past of so many runs this month.
async fn used(app: &Installation, person: &Person, used: i64) {
    let (organization, first) = (person.organization_id(), app.clock.time().date_naive().with_day(1).unwrap());
    app.sql(&format!(
        "INSERT INTO usage_counters (organization_id, metric, period, used)
         VALUES ('{organization}', 'api_calls', '{first}', {used})
             ON CONFLICT ON CONSTRAINT usage_counters_pkey DO UPDATE SET used = excluded.used"
    ))
    .await;
}

async fn calls(app: &Installation, person: &Person) -> i64 {
    let sql = format!(
        "SELECT coalesce(sum(used), 0)::bigint FROM usage_counters WHERE organization_id = '{}'",
        person.organization_id()
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&app.superuser).await.expect("the query is valid")
}

#[tokio::test]
async fn a_run_uses_one_call_of_the_plan_and_says_how_many_are_left() {
    let app = Installation::with(&[("RATE_LIMITS_ENABLED", "true")]).await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    let run = format!("/api/v1/skills/{skill}/execute");
    let reset = next_month(&app).timestamp().to_string();
    let rates = |reply: &Reply| {
        ["x-quota-metric", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]
            .map(|name| reply.header(name).map(str::to_owned))
    };
    let quota = |remaining: &str| ["api_calls", "1000", remaining, &reset].map(|text| Some(text.to_owned()));
    assert_eq!(rates(&ada.post(&run, json!({})).await), quota("999"));
    assert_eq!(rates(&ada.post_once(&run, "again", json!({})).await), quota("998"));
    assert_eq!(rates(&ada.post_once(&run, "again", json!({})).await), quota("998"), "a repeated request is no second");
    assert_eq!(calls(&app, &ada).await, 2);

    let elsewhere = ada.get("/api/v1/skills").await;
    assert_eq!(rates(&elsewhere)[0], None);
    assert_eq!(elsewhere.header("x-ratelimit-limit"), Some("60"), "everywhere else the window speaks");
    let refused = ada.post(&run, json!({ "executionType": "habit" })).await;
    assert_eq!(refused.header("x-ratelimit-limit"), Some("60"), "what was not counted is about the window, too");
    refused.refused(422, "VALIDATION_ERROR");
    assert_eq!(calls(&app, &ada).await, 2, "what is refused is not counted");

    app.sql("UPDATE organizations SET plan = 'enterprise'").await;
    let unlimited = ada.post(&run, json!({})).await;
    assert_eq!(rates(&unlimited), [Some("api_calls".to_owned()), None, None, None]);
    unlimited.ok(202);
    assert_eq!(calls(&app, &ada).await, 3, "what is unlimited is counted all the same");
    app.run_jobs().await;
}

#[tokio::test]
async fn when_the_plan_is_used_up_runs_are_refused_until_the_month_ends() {
    let app = Installation::new().await;
    let ada = app.sign_up("ada@example.com").await;
    let (eve, skill) = (app.stranger().await, ada.create_skill("Summary").await);
    let run = format!("/api/v1/skills/{skill}/execute");
    used(&app, &ada, 999).await;
    let last = ada.post(&run, json!({})).await;
    assert_eq!(last.header("x-ratelimit-remaining"), Some("0"));
    last.ok(202);
    let refused = ada.post_once(&run, "later", json!({})).await;
    let reset = next_month(&app);
    let wait = (reset - app.clock.time()).num_milliseconds().unsigned_abs().div_ceil(1000);
    for (name, value) in [
        ("x-quota-metric", "api_calls"),
        ("x-ratelimit-limit", "1000"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", &reset.timestamp().to_string()),
        ("retry-after", &wait.to_string()),
    ] {
        assert_eq!(refused.header(name), Some(value), "{name}");
    }
    let body = refused.refused(429, "QUOTA_EXCEEDED");
    assert!(body["detail"].as_str().unwrap().contains("api_calls"), "it names the metric: {body}");
    assert_eq!((&body["limit"], &body["used"]), (&json!(1000), &json!(1000)));
    let reset_at = reset.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    let details = json!({ "category": "api_calls", "limit": 1000, "used": 1000, "plan": "free", "resetAt": reset_at });
    assert_eq!(body["details"], details);
    assert_eq!(app.count("skill_executions").await, 1, "what is refused leaves nothing behind");
    let theirs = eve.create_skill("Summary").await;
    eve.execute(&theirs, json!({})).await;

    app.sql("UPDATE organizations SET plan = 'pro'").await;
    ada.execute(&skill, json!({})).await;
    app.sql("UPDATE organizations SET plan = 'free'").await;
    let refused = ada.post(&run, json!({})).await.refused(429, "QUOTA_EXCEEDED");
    assert_eq!(refused["used"], 1001, "a change of the plan resets nothing");
    app.run_jobs().await;

    app.clock.advance(reset - app.clock.time() - TimeDelta::milliseconds(1));
    let ada = app.sign_in("ada@example.com").await;
    ada.post(&run, json!({})).await.refused(429, "QUOTA_EXCEEDED");
    app.clock.advance(TimeDelta::milliseconds(1));
    let first = ada.post_once(&run, "later", json!({})).await;
    assert_eq!(first.header("x-ratelimit-remaining"), Some("999"), "a new month begins at midnight UTC");
    first.ok(202);
    app.run_jobs().await;
    app.advance(80 * 86_400);
    app.run_jobs().await;
    assert_eq!(app.count("usage_counters").await, 0, "periods long gone are forgotten");
}

#[tokio::test]
async fn two_hundred_at_once_use_exactly_the_ten_calls_that_are_left() {
    let app = Installation::with(&[("MAX_ACTIVE_EXECUTIONS", "1000")]).await;
    let ada = app.owner().await;
    let colleagues = [app.member(&ada, "member").await, app.member(&ada, "admin").await];
    let mut runs = Vec::new();
    for person in [&ada, &colleagues[0], &colleagues[1]] {
        let skill = person.create_skill("Summary").await;
        runs.push((person, format!("/api/v1/skills/{skill}/execute")));
    }
    used(&app, &ada, 990).await;
    let attempts = runs.iter().cycle().take(200).map(|(person, path)| person.post(path, json!({})));
    let replies = join_all(attempts).await;
    let (admitted, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 202);
    assert_eq!(admitted.len(), 10, "ten were left");
    let mut left: Vec<i64> =
        admitted.iter().map(|reply| reply.header("x-ratelimit-remaining").unwrap().parse().unwrap()).collect();
    left.sort_unstable();
    assert_eq!(left, (0..10).collect::<Vec<_>>(), "each of them was told another number");
    for reply in refused {
        reply.refused(429, "QUOTA_EXCEEDED");
    }
    assert_eq!(calls(&app, &ada).await, 1000);
    assert_eq!(app.count("skill_executions").await, 10);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_call_that_failed_before_the_work_began_is_given_back() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    let run = format!("/api/v1/skills/{skill}/execute");
    app.sql("ALTER TABLE skill_executions ADD CONSTRAINT skill_executions_broken_check CHECK (false) NOT VALID").await;
    ada.post(&run, json!({})).await.refused(500, "INTERNAL_ERROR");
    assert_eq!(calls(&app, &ada).await, 0);
    app.sql("ALTER TABLE skill_executions DROP CONSTRAINT skill_executions_broken_check").await;
    ada.post(&run, json!({})).await.ok(202);
    assert_eq!(calls(&app, &ada).await, 1);
    app.run_jobs().await;
}
