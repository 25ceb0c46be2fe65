//! Nobody spends more than a budget allows: what a run may cost at most is held back while it waits and runs, and what
//! it did not cost is given back whatever ended it, in the month in which it was asked for.

use chrono::{Datelike, Months, NaiveTime};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::provider::{Provider, Reply};
use crate::harness::{Installation, Person, eventually, skill};

const OURS: &str = "/api/v1/settings/budget";
/// Of a run of the model below with the prompt "Summarise in one line: x": 24 bytes and 64 tokens around them, for each
/// of four attempts, at 0.25 dollars per million; and 4096 tokens at 1.25.
const WORST_CASE: &str = "0.005208";

/// A skill of a cheap model, asked with `{"text": "x"}`.
async fn cheap_skill(person: &Person, name: &str) -> String {
    let mut body = skill(name);
    body["model"] = json!("claude-3-5-haiku-20241022");
    person.post("/api/v1/skills", body).await.ok(201)["id"].as_str().unwrap().to_owned()
}

async fn run(person: &Person, skill: &str) -> String {
    person.execute(skill, json!({ "text": "x" })).await
}

async fn limit(person: &Person, path: &str, usd: &str) -> Value {
    person.put(path, json!({ "limitUsd": usd })).await.ok(200)
}

fn of_skill(skill: &str) -> String {
    format!("/api/v1/skills/{skill}/budget")
}

/// Spent and reserved.
async fn sums(person: &Person, path: &str) -> (String, String) {
    let budget = person.get(path).await.ok(200);
    let text = |member: &str| budget[member].as_str().unwrap_or_else(|| panic!("no {member}: {budget}")).to_owned();
    (text("spentUsd"), text("reservedUsd"))
}

fn usd(spent: &str, reserved: &str) -> (String, String) {
    (spent.to_owned(), reserved.to_owned())
}

/// An installation whose provider answers each call with 40 000 and 4 000 tokens: 1.5 cents of the cheap model.
async fn installation() -> (Installation, Provider) {
    let (app, provider) = Installation::with_provider(&[("MAX_ACTIVE_EXECUTIONS", "1000")]).await;
    provider.always(Reply::text(&["ok"], 40_000, 4_000));
    (app, provider)
}

#[tokio::test]
async fn a_budget_is_set_seen_and_taken_away_by_whose_it_is() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (admin, member, stranger) =
        (app.member(&ada, "admin").await, app.member(&ada, "member").await, app.stranger().await);
    let month = app.clock.time().format("%Y-%m").to_string();
    let none = json!({ "month": month, "spentUsd": "0.00", "reservedUsd": "0.00" });
    let some = json!({
        "month": month, "limitUsd": "25.50", "spentUsd": "0.00", "reservedUsd": "0.00", "remainingUsd": "25.50"
    });
    assert_eq!(ada.get(OURS).await.ok(200), none);
    assert_eq!(limit(&ada, OURS, "25.5").await, some);
    assert_eq!(admin.get(OURS).await.ok(200), some, "it is the organisation's");
    assert_eq!(stranger.get(OURS).await.ok(200), none, "and nobody else's");
    for reply in [member.get(OURS).await, member.put(OURS, json!({ "limitUsd": "1" })).await, member.delete(OURS).await]
    {
        reply.refused(403, "FORBIDDEN");
    }
    let skill = member.create_skill("Mine").await;
    let path = of_skill(&skill);
    assert_eq!(limit(&member, &path, "25.5").await, some);
    assert_eq!(member.get(&path).await.ok(200), some);
    for other in [&ada, &stranger] {
        other.get(&path).await.refused(404, "SKILL_NOT_FOUND");
        other.put(&path, json!({ "limitUsd": "1" })).await.refused(404, "SKILL_NOT_FOUND");
        other.delete(&path).await.refused(404, "SKILL_NOT_FOUND");
    }
    for wrong in [json!({ "limitUsd": "-1" }), json!({ "limitUsd": "much" }), json!({ "limitUsd": 5 }), json!({})] {
        ada.put(OURS, wrong.clone()).await.refused_field(422, "VALIDATION_ERROR", "limitUsd");
        member.put(&path, wrong).await.refused_field(422, "VALIDATION_ERROR", "limitUsd");
    }
    assert_eq!(app.count("audit_logs WHERE event_type = 'system.budget_changed'").await, 2);
    for (person, path) in [(&ada, OURS), (&member, &*path)] {
        assert_eq!(person.delete(path).await.status, 204);
        assert_eq!(person.delete(path).await.status, 204, "what is gone may be taken away again");
        assert_eq!(person.get(path).await.ok(200), none);
    }
    limit(&member, &path, "1").await;
    member.delete(&format!("/api/v1/skills/{skill}")).await.ok(200);
    assert_eq!(app.count("budgets").await, 0, "the budget of a skill goes with it");
}

#[tokio::test]
async fn what_a_run_may_cost_is_held_back_and_what_it_cost_is_taken() {
    let (app, _provider) = installation().await;
    let ada = app.owner().await;
    let skill = cheap_skill(&ada, "Summary").await;
    run(&ada, &skill).await;
    assert_eq!(sums(&ada, OURS).await, usd("0.00", WORST_CASE), "whether or not there is a budget");
    limit(&ada, OURS, "1").await;
    limit(&ada, &of_skill(&skill), "0.5").await;
    assert_eq!(ada.get(OURS).await.ok(200)["remainingUsd"], "0.994792");
    app.run_jobs().await;
    for path in [OURS, &of_skill(&skill)] {
        assert_eq!(sums(&ada, path).await, usd("0.015", "0.00"), "{path}");
    }
    assert_eq!(ada.get(OURS).await.ok(200)["remainingUsd"], "0.985");
    let other = cheap_skill(&ada, "Other").await;
    run(&ada, &other).await;
    app.run_jobs().await;
    assert_eq!(sums(&ada, OURS).await, usd("0.03", "0.00"));
    assert_eq!(sums(&ada, &of_skill(&skill)).await, usd("0.015", "0.00"), "another skill spends its own");
}

#[tokio::test]
async fn a_run_that_could_cost_more_than_is_left_is_refused() {
    let (app, provider) = installation().await;
    let ada = app.owner().await;
    let (skill, free) = (cheap_skill(&ada, "Summary").await, cheap_skill(&ada, "Other").await);
    let month = app.clock.time().format("%Y-%m").to_string();
    limit(&ada, &of_skill(&skill), "0.02").await;
    run(&ada, &skill).await;
    app.run_jobs().await;
    let path = format!("/api/v1/skills/{skill}/execute");
    let body = json!({ "input": { "text": "x" } });
    let refused = ada.post_once(&path, "later", body.clone()).await.refused(402, "BUDGET_EXCEEDED");
    assert_eq!((&refused["limit"], &refused["used"]), (&json!(2), &json!(2)), "in whole cents");
    let details = json!({
        "scope": "skill", "skillId": skill, "month": month, "limit": 2, "used": 2,
        "limitUsd": "0.02", "usedUsd": "0.015", "requiredUsd": WORST_CASE
    });
    assert_eq!(refused["details"], details);
    run(&ada, &free).await;
    app.run_jobs().await;

    limit(&ada, OURS, "0.03").await;
    for what in ["execute", "test"] {
        let path = format!("/api/v1/skills/{skill}/{what}");
        let refused = ada.post(&path, body.clone()).await.refused(402, "BUDGET_EXCEEDED");
        assert_eq!(refused["details"]["scope"], "organization", "the organisation's comes first");
        assert!(refused["details"].get("skillId").is_none(), "{refused}");
    }
    let draft = json!({ "promptTemplate": "Summarise in one line", "model": "claude-3-haiku" });
    ada.post("/api/v1/skills/test", draft).await.refused(402, "BUDGET_EXCEEDED");
    assert_eq!(provider.call_count(), 2);
    assert_eq!(app.count("skill_executions").await, 2, "what is refused leaves nothing behind");
    assert_eq!(app.count("usage_counters WHERE used = 2").await, 1, "and uses no call of the plan");
    assert_eq!(sums(&ada, OURS).await, usd("0.03", "0.00"));

    ada.delete(OURS).await;
    limit(&ada, &of_skill(&skill), "1").await;
    ada.post_once(&path, "later", body).await.ok(202);
    app.run_jobs().await;
}

#[tokio::test]
async fn two_hundred_runs_at_once_are_admitted_as_far_as_the_budget_goes_and_no_further() {
    let (app, provider) = installation().await;
    // Each costs less than it might have: 1 000 and 100 tokens.
    provider.always(Reply::text(&["ok"], 1_000, 100));
    let ada = app.owner().await;
    let mut people = vec![ada.clone()];
    for role in ["admin", "member", "member"] {
        people.push(app.member(&ada, role).await);
    }
    let mut runs = Vec::new();
    for person in &people {
        let skill = cheap_skill(person, "Summary").await;
        runs.push((person, format!("/api/v1/skills/{skill}/execute"), format!("/api/v1/skills/{skill}/test")));
    }
    limit(&ada, OURS, "0.05208").await;
    let body = json!({ "input": { "text": "x" } });
    // Runs and tests of the same prompt, which may cost the same.
    let attempts = (0..200).map(|n| {
        let (person, execute, test) = &runs[n % runs.len()];
        person.post(if n % 3 == 0 { test } else { execute }, body.clone())
    });
    let replies = join_all(attempts).await;
    let (admitted, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 202);
    assert_eq!(admitted.len(), 10, "ten times {WORST_CASE} are 0.05208");
    for reply in refused {
        reply.refused(402, "BUDGET_EXCEEDED");
    }
    assert_eq!(sums(&ada, OURS).await, usd("0.00", "0.05208"));
    app.run_jobs().await;
    assert_eq!(provider.call_count(), 10);
    assert_eq!(sums(&ada, OURS).await, usd("0.00375", "0.00"), "everything that was not spent is given back");
}

#[tokio::test]
async fn whatever_ends_a_run_gives_back_what_it_did_not_cost() {
    let (app, provider) = installation().await;
    let ada = app.owner().await;
    let skill = cheap_skill(&ada, "Summary").await;
    limit(&ada, OURS, "1").await;

    let cancelled = run(&ada, &skill).await;
    ada.post(&format!("/api/v1/executions/{cancelled}/cancel"), json!({})).await.ok(200);
    assert_eq!(sums(&ada, OURS).await, usd("0.00", "0.00"), "cancelled while it waited");

    provider.script(Reply::error(400, "no"));
    run(&ada, &skill).await;
    app.run_jobs().await;
    assert_eq!(sums(&ada, OURS).await, usd("0.00", "0.00"), "refused by the provider");

    run(&ada, &skill).await;
    ada.put(&format!("/api/v1/skills/{skill}"), json!({ "isActive": false })).await.ok(200);
    app.run_jobs().await;
    assert_eq!(sums(&ada, OURS).await, usd("0.00", "0.00"), "failed before anybody was asked");

    let gone = cheap_skill(&ada, "To be deleted").await;
    limit(&ada, &of_skill(&gone), "1").await;
    for _ in 0..3 {
        run(&ada, &gone).await;
    }
    ada.delete(&format!("/api/v1/skills/{gone}")).await.ok(200);
    assert_eq!(sums(&ada, OURS).await, usd("0.00", "0.00"), "the skill was deleted");
    app.run_jobs().await;
    assert_eq!(app.count("skill_executions WHERE reserved_usd IS NOT NULL").await, 0);
}

#[tokio::test]
async fn a_worker_that_is_lost_leaks_nothing_and_what_it_had_used_is_taken_when_it_is_known() {
    let (app, provider) = installation().await;
    provider.always(Reply::hang());
    let ada = app.owner().await;
    let skill = cheap_skill(&ada, "Summary").await;
    limit(&ada, OURS, "1").await;
    let id = run(&ada, &skill).await;
    let path = format!("/api/v1/skills/{skill}/test");
    ada.post(&path, json!({ "input": { "text": "x" } })).await.ok(202);
    assert_eq!(sums(&ada, OURS).await, usd("0.00", "0.010416"));
    let worker = {
        let app = app.app.clone();
        tokio::spawn(async move { kijko_core::services::worker::run_ready(&app).await })
    };
    provider.wait_for_calls(2).await;
    eventually("both are claimed", async || {
        let running = "skill_executions WHERE status = 'running'";
        app.count(running).await == 1 && app.count("skill_transient_runs WHERE status = 'running'").await == 1
    })
    .await;
    worker.abort();
    app.advance(61);
    app.sql("UPDATE graphile_worker._private_jobs SET locked_at = NULL, locked_by = NULL").await;
    app.run_jobs().await;
    assert_eq!(ada.execution(&id).await["errorCode"], "WORKER_LOST");
    assert_eq!(sums(&ada, OURS).await, usd("0.00", "0.00"));

    // It was only slow, and now tells what the call had cost; twice, because it is not sure that it was heard.
    let late = format!(
        "SET LOCAL app.current_org_id = '{}'; SET LOCAL app.current_user_id = '{}'; SET LOCAL ROLE kijko_tenant;
         SELECT app.record_usage('{id}', 40000, 4000, 2, 0.015, 'anthropic', 'claude-haiku-4-5', NULL, 'platform', 1::smallint)",
        ada.organization_id(),
        ada.user_id()
    );
    for _ in 0..2 {
        sqlx::raw_sql(sqlx::AssertSqlSafe(late.clone())).execute(&app.superuser).await.expect("it may say so");
    }
    for path in [OURS, &of_skill(&skill)] {
        assert_eq!(sums(&ada, path).await, usd("0.015", "0.00"), "{path}");
    }
}

#[tokio::test]
async fn a_run_that_is_cancelled_while_it_runs_costs_what_it_had_used() {
    let (app, provider) = installation().await;
    // The prompt is counted at once, and the answer takes its time.
    provider.always(Reply::text(&["Hel", "lo"], 40_000, 4_000).paced(std::time::Duration::from_secs(20)));
    let ada = app.owner().await;
    let skill = cheap_skill(&ada, "Summary").await;
    let id = run(&ada, &skill).await;
    let cancel = async {
        provider.wait_for_calls(1).await;
        eventually("it runs", async || ada.execution(&id).await["status"] == "running").await;
        ada.post(&format!("/api/v1/executions/{id}/cancel"), json!({})).await.ok(200);
    };
    futures_util::join!(app.run_jobs(), cancel);
    assert_eq!(sums(&ada, OURS).await.1, "0.00");
    let same = "spending WHERE skill_id IS NULL
                   AND spent_usd = (SELECT coalesce(sum(cost_usd), 0) FROM skill_executions)";
    assert_eq!(app.count(same).await, 1, "the sums agree with the run");
    assert_eq!(app.count("skill_executions WHERE cost_usd >= 0.01").await, 1, "which had cost its prompt");
}

#[tokio::test]
async fn a_run_belongs_to_the_month_in_which_it_was_asked_for() {
    let (app, _provider) = installation().await;
    let ada = app.sign_up("ada@example.com").await;
    let skill = cheap_skill(&ada, "Summary").await;
    limit(&ada, OURS, "0.02").await;
    let before = app.clock.time().date_naive().with_day(1).unwrap();
    run(&ada, &skill).await;
    let next = before.checked_add_months(Months::new(1)).unwrap().and_time(NaiveTime::MIN).and_utc();
    app.clock.advance(next - app.clock.time());
    let ada = app.sign_in("ada@example.com").await;
    assert_eq!(sums(&ada, OURS).await, usd("0.00", "0.00"), "a new month begins with nothing");
    run(&ada, &skill).await;
    app.run_jobs().await;
    assert_eq!(sums(&ada, OURS).await, usd("0.015", "0.00"));
    let old = format!("spending WHERE month = '{before}' AND spent_usd = 0.015 AND reserved_usd = 0");
    assert_eq!(app.count(&old).await, 2, "of the organisation, and of the skill");
}

#[tokio::test]
async fn a_skill_that_became_dearer_while_its_run_waited_has_to_fit_again() {
    let (app, provider) = installation().await;
    let ada = app.owner().await;
    let skill = cheap_skill(&ada, "Summary").await;
    limit(&ada, OURS, "0.02").await;
    let path = format!("/api/v1/skills/{skill}");
    let id = run(&ada, &skill).await;
    ada.put(&path, json!({ "model": "claude-3-opus-20240229" })).await.ok(200);
    app.run_jobs().await;
    let failed = ada.execution(&id).await;
    assert_eq!((&failed["status"], &failed["errorCode"]), (&json!("failed"), &json!("BUDGET_EXCEEDED")));
    assert_eq!((provider.call_count(), sums(&ada, OURS).await), (0, usd("0.00", "0.00")));

    limit(&ada, OURS, "1").await;
    ada.put(&path, json!({ "model": "claude-3-5-haiku-20241022" })).await.ok(200);
    let id = run(&ada, &skill).await;
    ada.put(&path, json!({ "model": "claude-3-opus-20240229" })).await.ok(200);
    app.run_jobs().await;
    assert_eq!(ada.execution(&id).await["status"], "completed");
    assert_eq!(sums(&ada, OURS).await, usd("0.90", "0.00"), "40 000 and 4 000 tokens at 15 and 75 dollars");
    app.run_jobs().await;
}

#[tokio::test]
async fn reaching_eighty_and_a_hundred_percent_is_told_once() {
    let (app, _provider) = installation().await;
    let ada = app.sign_up("ada@example.com").await;
    let (skill, dear) = (cheap_skill(&ada, "Summary").await, cheap_skill(&ada, "Other").await);
    let told = async |percent: &str| {
        let entry = format!(
            "audit_logs WHERE event_type = 'system.budget_reached' AND user_id IS NULL
                AND metadata ->> 'percent' = '{percent}' AND metadata ->> 'skillId' IS NULL"
        );
        let mails = app.mails_to("ada@example.com").await;
        let start = format!("{percent} % of the budget of your organisation");
        (app.count(&entry).await, mails.iter().filter(|mail| mail.text.contains(&start)).count())
    };
    // Room for what they may cost while they wait; then the limit comes down to what is of interest.
    limit(&ada, OURS, "0.0375").await;
    run(&ada, &skill).await;
    app.run_jobs().await;
    assert_eq!(told("80").await, (0, 0), "0.015 of 0.0375 are 40 %");
    run(&ada, &skill).await;
    app.run_jobs().await;
    assert_eq!(told("80").await, (1, 1), "0.03 of 0.0375 are 80 %");
    assert_eq!(told("100").await, (0, 0));
    run(&ada, &skill).await;
    app.run_jobs().await;
    assert_eq!((told("80").await, told("100").await), ((1, 1), (1, 1)), "a run may cost more than was thought");
    app.run_jobs().await;
    assert_eq!((told("80").await, told("100").await), ((1, 1), (1, 1)), "and that is all");

    limit(&ada, OURS, "0.07").await;
    run(&ada, &skill).await;
    app.run_jobs().await;
    assert_eq!(told("80").await, (2, 2), "another limit is another budget");
    ada.delete(OURS).await;

    // The budget of a skill, past both at once.
    limit(&ada, &of_skill(&dear), "0.0149").await;
    run(&ada, &dear).await;
    app.run_jobs().await;
    for percent in ["80", "100"] {
        let entry = format!(
            "audit_logs WHERE event_type = 'system.budget_reached' AND metadata ->> 'percent' = '{percent}'
                AND metadata ->> 'skillId' = '{dear}'"
        );
        let mails = app.mails_to("ada@example.com").await;
        let of_skill = mails.iter().filter(|m| m.text.starts_with("Hello") && m.text.contains(&dear)).count();
        assert_eq!(app.count(&entry).await, 1, "{percent}");
        assert!(of_skill >= 1, "{percent}");
    }
}
