//! The history: lists, cursors, trying again, files, and how it ends.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::harness::{Installation, Person, Reply};

const UNKNOWN: &str = "11111111-1111-4111-8111-111111111111";

fn ids(executions: &Value) -> Vec<String> {
    executions.as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect()
}

/// So many executions, a second apart, the newest first.
async fn some(app: &Installation, person: &Person, skill: &str, count: usize) -> Vec<String> {
    let mut made = Vec::new();
    for _ in 0..count {
        made.insert(0, person.execute(skill, json!({ "text": "x" })).await);
        app.advance(1);
    }
    made
}

async fn post_once(person: &Person, path: &str, key: &str) -> Reply {
    let request = Request::post(path).header("idempotency-key", key).body(Body::empty()).unwrap();
    person.send(request).await
}

#[tokio::test]
async fn the_newest_and_the_active_ones_come_with_their_skills() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    let old = some(&app, &ada, &skill, 11).await;
    app.run_jobs().await;
    let new = some(&app, &ada, &skill, 2).await;
    let recent = ada.get("/api/v1/executions/recent").await.ok(200);
    assert_eq!(ids(&recent), [&new[..], &old[..8]].concat(), "ten are the default");
    assert_eq!(recent[0]["skill"]["name"], "Summary");
    assert_eq!(ids(&ada.get("/api/v1/executions/recent?limit=1").await.ok(200)), [&*new[0]]);
    for limit in ["0", "101", "x"] {
        let refused = ada.get(&format!("/api/v1/executions/recent?limit={limit}")).await;
        refused.refused_field(422, "VALIDATION_ERROR", "limit");
    }
    let running = ada.get("/api/v1/executions/running").await.ok(200);
    assert_eq!(ids(&running), new);
    assert_eq!((&running[1]["status"], &running[1]["skill"]["id"]), (&json!("pending"), &json!(skill)));
    app.run_jobs().await;
    assert_eq!(ada.get("/api/v1/executions/running").await.ok(200), json!([]));
}

#[tokio::test]
async fn one_execution_comes_with_its_skill_as_long_as_that_exists() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    let id = some(&app, &ada, &skill, 1).await.remove(0);
    app.run_jobs().await;
    let path = format!("/api/v1/executions/{id}/full");
    let full = ada.get(&path).await.ok(200);
    assert_eq!((&full["id"], &full["skill"]["name"]), (&json!(id), &json!("Summary")));
    ada.delete(&format!("/api/v1/skills/{skill}")).await.ok(200);
    let full = ada.get(&path).await.ok(200);
    assert!(full.get("skill").is_none() && full.get("skillId").is_none() && full["status"] == "completed", "{full}");
    for id in [UNKNOWN, "x"] {
        ada.get(&format!("/api/v1/executions/{id}/full")).await.refused(404, "EXECUTION_NOT_FOUND");
    }
}

#[tokio::test]
async fn cursors_lead_through_everything_once_while_new_executions_come() {
    let app = Installation::with(&[("MAX_ACTIVE_EXECUTIONS", "100")]).await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    let all = some(&app, &ada, &skill, 7).await;
    // Two of the same moment.
    app.sql("UPDATE skill_executions SET executed_at = date_trunc('second', executed_at)").await;
    let page = async |query: &str| ada.get(&format!("/api/v1/executions?limit=3{query}")).await.ok(200);
    let first = page("").await;
    assert_eq!(ids(&first["executions"]), all[..3]);
    assert!(first.get("prevCursor").is_none() && first["page"] == 1, "{first}");
    let cursor =
        |page: &Value, name: &str| page[name].as_str().unwrap_or_else(|| panic!("{name} in {page}")).to_owned();

    some(&app, &ada, &skill, 2).await;
    let second = page(&format!("&after={}", cursor(&first, "nextCursor"))).await;
    assert_eq!(ids(&second["executions"]), all[3..6], "what came meanwhile moves nothing");
    assert_eq!((&second["hasMore"], &second["total"], second.get("page")), (&json!(true), &json!(9), None));
    let third = page(&format!("&after={}", cursor(&second, "nextCursor"))).await;
    assert_eq!(ids(&third["executions"]), all[6..]);
    assert!(third["hasMore"] == false && third.get("nextCursor").is_none(), "{third}");

    let back = page(&format!("&before={}", cursor(&third, "prevCursor"))).await;
    assert_eq!(ids(&back["executions"]), all[3..6]);
    let back = page(&format!("&before={}", cursor(&back, "prevCursor"))).await;
    assert_eq!(ids(&back["executions"]), all[..3]);
    let newest = page(&format!("&before={}", cursor(&back, "prevCursor"))).await;
    assert_eq!(newest["executions"].as_array().unwrap().len(), 2, "those that came meanwhile");
    assert!(newest.get("prevCursor").is_none() && newest["hasMore"] == true, "{newest}");
    let filtered = page(&format!("&status=failed&after={}", cursor(&first, "nextCursor"))).await;
    assert_eq!((&filtered["executions"], filtered.get("nextCursor")), (&json!([]), None));
    app.run_jobs().await;
}

#[tokio::test]
async fn executions_of_one_moment_are_not_lost_between_pages() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    let mut all = some(&app, &ada, &skill, 5).await;
    app.sql("UPDATE skill_executions SET executed_at = '2026-01-01'").await;
    all.sort_by(|a, b| b.cmp(a));
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = ada.get(&format!("/api/v1/executions?limit=2{after}")).await.ok(200);
        seen.extend(ids(&page["executions"]));
        let Some(next) = page["nextCursor"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen, all);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_cursor_is_good_for_its_owner_and_as_it_was_given() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let bob = app.member(&ada, "member").await;
    let skill = ada.create_skill("Summary").await;
    some(&app, &ada, &skill, 2).await;
    let page = ada.get("/api/v1/executions?limit=1").await.ok(200);
    let cursor = page["nextCursor"].as_str().unwrap();
    ada.get(&format!("/api/v1/executions?after={cursor}")).await.ok(200);
    let path = format!("/api/v1/executions?after={cursor}");
    bob.get(&path).await.refused_field(422, "VALIDATION_ERROR", "after");
    for at in [0, 20, cursor.len() - 2] {
        let mut bent = cursor.as_bytes().to_vec();
        bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
        let bent = String::from_utf8(bent).unwrap();
        ada.get(&format!("/api/v1/executions?after={bent}")).await.refused_field(422, "VALIDATION_ERROR", "after");
    }
    for (query, field) in [
        ("after=x".to_owned(), "after"),
        ("before=".to_owned(), "before"),
        (format!("after={cursor}&before={cursor}"), "before"),
        (format!("after={cursor}&offset=0"), "offset"),
        (format!("before={cursor}&offset=1"), "offset"),
        (format!("after={cursor}&limit=101"), "limit"),
    ] {
        ada.get(&format!("/api/v1/executions?{query}")).await.refused_field(422, "VALIDATION_ERROR", field);
    }
    app.run_jobs().await;
}

#[tokio::test]
async fn what_was_cancelled_or_failed_can_be_tried_again() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    let body = json!({ "input": { "text": "once more" }, "executionType": "api" });
    let old = ada.post(&format!("/api/v1/skills/{skill}/execute"), body).await.ok(202);
    let old = old["executionId"].as_str().unwrap();
    let path = format!("/api/v1/executions/{old}/retry");
    let refused = ada.post(&path, json!({})).await.refused(409, "CANNOT_RETRY");
    assert_eq!(refused["details"], json!({ "status": "pending" }));
    ada.post(&format!("/api/v1/executions/{old}/cancel"), json!({})).await.ok(200);
    app.advance(5);
    let before = ada.execution(old).await;

    let template = json!({ "promptTemplate": "Translate into Dutch: {{text}}" });
    ada.put(&format!("/api/v1/skills/{skill}"), template).await.ok(200);
    let reply = ada.call("POST".parse().unwrap(), &path, None).await;
    let location = reply.header("location").unwrap().to_owned();
    assert!(reply.header("x-ratelimit-remaining").is_some(), "it counts against the quota like any run");
    let accepted = reply.ok(202);
    let new = accepted["newExecutionId"].as_str().unwrap();
    assert_eq!((&accepted["status"], location), (&json!("pending"), format!("/api/v1/executions/{new}")));
    app.run_jobs().await;
    let run = ada.execution(new).await;
    for member in ["skillId", "executionType", "input", "userId"] {
        assert_eq!(run[member], before[member], "{member}");
    }
    assert!(run["executedAt"].as_str() > before["executedAt"].as_str(), "{run}");
    assert!(run["output"].as_str().unwrap().contains("Translate into Dutch: once more"), "{run}");
    assert_eq!(ada.execution(old).await, before, "the old one stays as it is");
    assert_eq!(app.count(&format!("skill_executions WHERE id = '{new}' AND retry_of = '{old}'")).await, 1);
    let refused = ada.post(&format!("/api/v1/executions/{new}/retry"), json!({})).await.refused(409, "CANNOT_RETRY");
    assert_eq!(refused["details"]["status"], "completed");
}

#[tokio::test]
async fn trying_again_is_checked_in_the_documented_order() {
    let app = Installation::with(&[("MAX_ACTIVE_EXECUTIONS", "1")]).await;
    let ada = app.owner().await;
    let mut body = crate::harness::skill("Strict");
    body["inputSchema"] = json!([{ "name": "text", "type": "string" }]);
    let skill = ada.post("/api/v1/skills", body).await.ok(201)["id"].as_str().unwrap().to_owned();
    let id = some(&app, &ada, &skill, 1).await.remove(0);
    ada.post(&format!("/api/v1/executions/{id}/cancel"), json!({})).await.ok(200);
    let (retry, skill_path) = (format!("/api/v1/executions/{id}/retry"), format!("/api/v1/skills/{skill}"));
    for id in [UNKNOWN, "x"] {
        ada.post(&format!("/api/v1/executions/{id}/retry"), json!({})).await.refused(404, "EXECUTION_NOT_FOUND");
    }
    let change = async |body: Value| ada.put(&skill_path, body).await.ok(200);
    change(json!({ "isActive": false, "model": "gpt-4", "inputSchema": [{ "name": "n", "type": "number",
                    "required": true }] }))
    .await;
    ada.post(&retry, json!({})).await.refused(409, "SKILL_INACTIVE");
    change(json!({ "isActive": true })).await;
    ada.post(&retry, json!({})).await.refused_field(422, "INVALID_INPUT", "n");
    change(json!({ "inputSchema": null })).await;
    ada.post(&retry, json!({})).await.refused_field(422, "MODEL_NOT_SUPPORTED", "model");
    change(json!({ "model": "claude-3-haiku" })).await;
    ada.post(&retry, json!({})).await.ok(202);
    ada.post(&retry, json!({})).await.refused(429, "TOO_MANY_ACTIVE_EXECUTIONS");
    app.run_jobs().await;
    ada.delete(&skill_path).await.ok(200);
    ada.post(&retry, json!({})).await.refused(404, "SKILL_NOT_FOUND");
    assert_eq!(app.count("skill_executions").await, 2, "what is refused leaves nothing behind");
}

#[tokio::test]
async fn asking_twice_with_one_key_tries_again_once() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    let old = some(&app, &ada, &skill, 2).await;
    for id in &old {
        ada.post(&format!("/api/v1/executions/{id}/cancel"), json!({})).await.ok(200);
    }
    let path = format!("/api/v1/executions/{}/retry", old[0]);
    let replies = futures_util::future::join_all((0..6).map(|_| post_once(&ada, &path, "again"))).await;
    let bodies: Vec<Value> = replies.into_iter().map(|reply| reply.ok(202)).collect();
    assert!(bodies.iter().all(|body| *body == bodies[0]), "every one gets the reply of the first: {bodies:?}");
    assert_eq!(app.count("skill_executions").await, 3);
    let other = format!("/api/v1/executions/{}/retry", old[1]);
    post_once(&ada, &other, "again").await.refused(409, "IDEMPOTENCY_CONFLICT");
    post_once(&ada, &path, "once more").await.ok(202);
    assert_eq!(app.count("skill_executions").await, 4);
    app.run_jobs().await;
}

#[tokio::test]
async fn cancelling_twice_with_one_key_succeeds_twice() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    let id = some(&app, &ada, &skill, 1).await.remove(0);
    let path = format!("/api/v1/executions/{id}/cancel");
    let replies = futures_util::future::join_all((0..4).map(|_| post_once(&ada, &path, "stop"))).await;
    for reply in replies {
        assert_eq!(reply.ok(200), json!({ "success": true }));
    }
    post_once(&ada, &path, "another").await.refused(409, "CANNOT_CANCEL");
    let retry = format!("/api/v1/executions/{id}/retry");
    post_once(&ada, &retry, "stop").await.refused(409, "IDEMPOTENCY_CONFLICT");
    app.run_jobs().await;
}

#[tokio::test]
async fn a_cleanup_removes_ones_own_ended_executions_of_long_ago() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let bob = app.member(&ada, "member").await;
    let (hers, his) = (ada.create_skill("Hers").await, bob.create_skill("His").await);
    some(&app, &ada, &hers, 3).await;
    some(&app, &bob, &his, 1).await;
    app.run_jobs().await;
    let length = "SELECT sum(octet_length(row_to_json(e)::text))::bigint FROM skill_executions e JOIN skills s
                   ON s.id = e.skill_id WHERE s.name = 'Hers'";
    app.sql("UPDATE skill_executions SET output = repeat('x', 1000000)").await;
    let bytes: i64 = sqlx::query_scalar(length).fetch_one(&app.superuser).await.unwrap();
    let waiting = some(&app, &ada, &hers, 1).await;
    app.advance(3 * 86_400);
    let (ada, bob) = (app.signed_in_again(&ada).await, app.signed_in_again(&bob).await);
    for days in ["0", "3651", "x"] {
        let refused = ada.delete(&format!("/api/v1/executions/cleanup?olderThanDays={days}")).await;
        refused.refused_field(422, "VALIDATION_ERROR", "olderThanDays");
    }
    let none = ada.delete("/api/v1/executions/cleanup").await.ok(200);
    assert_eq!(none, json!({ "deletedCount": 0, "freedSpaceMb": 0.0 }), "90 days are the default");
    let some = ada.delete("/api/v1/executions/cleanup?olderThanDays=2").await.ok(200);
    let hundredths = (bytes * 100 + (1 << 19)) / (1 << 20);
    let megabytes: f64 = format!("{}.{:02}", hundredths / 100, hundredths % 100).parse().unwrap();
    assert_eq!(some, json!({ "deletedCount": 3, "freedSpaceMb": megabytes }));
    let left = ada.get("/api/v1/executions").await.ok(200);
    assert_eq!(ids(&left["executions"]), waiting, "what waits or runs is kept, however old");
    let skill = ada.get(&format!("/api/v1/skills/{hers}")).await.ok(200);
    assert_eq!(skill["executionCount"], 3, "the skill still says how often it ran");
    assert_eq!(bob.get("/api/v1/executions").await.ok(200)["total"], 1);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_viewer_cleans_up_nothing() {
    let app = Installation::new().await;
    let viewer = app.member(&app.owner().await, "viewer").await;
    viewer.delete("/api/v1/executions/cleanup").await.refused(403, "FORBIDDEN");
    viewer.get("/api/v1/executions/export").await.ok(200);
}

#[tokio::test]
async fn after_ninety_days_executions_go_by_themselves_at_three_o_clock() {
    let app = Installation::new().await;
    app.clock.set("2027-03-01T12:00:00Z".parse().unwrap());
    let (ada, eve) = (app.owner().await, app.stranger().await);
    for person in [&ada, &eve] {
        let skill = person.create_skill("Summary").await;
        some(&app, person, &skill, 2).await;
    }
    app.run_jobs().await;
    app.clock.set("2027-05-31T02:59:59Z".parse().unwrap());
    app.run_jobs().await;
    assert_eq!(app.count("skill_executions").await, 4, "91 days old, but it is not three o'clock");
    app.clock.set("2027-05-31T03:00:00Z".parse().unwrap());
    app.run_jobs().await;
    assert_eq!(app.count("skill_executions").await, 0, "of every organisation");
    app.run_jobs().await;
    assert_eq!(app.count("execution_statistics").await, 0, "and nothing of them is counted any more");
}

#[tokio::test]
async fn how_long_executions_are_kept_can_be_set() {
    let app = Installation::with(&[("EXECUTION_RETENTION_DAYS", "2")]).await;
    app.clock.set("2027-03-01T02:00:00Z".parse().unwrap());
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    some(&app, &ada, &skill, 1).await;
    app.run_jobs().await;
    app.clock.set("2027-03-03T04:00:00Z".parse().unwrap());
    app.run_jobs().await;
    assert_eq!(app.count("skill_executions").await, 0);
}
