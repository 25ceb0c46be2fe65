//! Executions: asked for in a request, run by a worker, ended exactly once.

use serde_json::{Value, json};

use crate::harness::provider::Reply;
use crate::harness::{Installation, eventually};

#[tokio::test]
async fn a_run_is_accepted_at_once_and_completed_by_a_worker() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    let reply = ada.post(&format!("/api/v1/skills/{skill}/execute"), json!({ "input": { "text": "Kijko." } })).await;
    let location = reply.header("location").expect("an address to look at").to_owned();
    let accepted = reply.ok(202);
    assert_eq!(accepted["status"], "pending");

    let pending = ada.get(&location).await.ok(200);
    assert_eq!((&pending["status"], &pending["executionType"]), (&json!("pending"), &json!("manual")));
    assert!(pending.get("output").is_none() && pending.get("completedAt").is_none(), "{pending}");

    app.run_jobs().await;
    let done = ada.get(&location).await.ok(200);
    assert_eq!(done["status"], "completed");
    assert!(done["output"].as_str().unwrap().contains("Summarise in one line: Kijko."), "{done}");
    let number = |member: &str| done[member].as_i64().unwrap();
    assert_eq!(number("tokensUsed"), number("promptTokens") + number("completionTokens"));
    assert_eq!(done["input"], json!({ "text": "Kijko." }));
    assert!(done["durationMs"].is_number() && done["costCents"].is_number() && done["completedAt"].is_string());

    let skill = ada.get(&format!("/api/v1/skills/{skill}")).await.ok(200);
    assert_eq!((&skill["executionCount"], &skill["lastExecutedAt"]), (&json!(1), &done["completedAt"]));
}

#[tokio::test]
async fn tokens_and_cost_are_those_that_the_provider_reports() {
    let (app, provider) = Installation::with_provider(&[]).await;
    provider.always(Reply::text(&["Hello, ", "world."], 40_000, 4_000));
    let ada = app.owner().await;
    let mut body = crate::harness::skill("Summary");
    body["model"] = json!("claude-3-5-haiku-20241022");
    let skill = ada.post("/api/v1/skills", body).await.ok(201)["id"].as_str().unwrap().to_owned();
    let id = ada.execute(&skill, json!({ "text": "x" })).await;
    app.run_jobs().await;
    let done = ada.execution(&id).await;
    assert_eq!((&done["status"], &done["output"]), (&json!("completed"), &json!("Hello, world.")));
    assert_eq!((&done["promptTokens"], &done["completionTokens"]), (&json!(40_000), &json!(4_000)));
    assert_eq!(done["costCents"], 2, "0.25 and 1.25 dollars per million: 1.5 cents, half up");
    let exact = "skill_executions WHERE cost_usd = 0.015 AND provider = 'anthropic' AND model = 'claude-haiku-4-5' AND attempts = 1";
    assert_eq!(app.count(exact).await, 1);
}

#[tokio::test]
async fn checks_come_in_the_documented_order() {
    let app = Installation::with(&[("MAX_ACTIVE_EXECUTIONS", "1")]).await;
    let ada = app.owner().await;
    let mut body = crate::harness::skill("Strict");
    body["inputSchema"] =
        json!([{ "name": "text", "type": "string", "required": true }, { "name": "n", "type": "number" }]);
    body["model"] = json!("gpt-4");
    body["isActive"] = json!(false);
    let id = ada.post("/api/v1/skills", body).await.ok(201)["id"].as_str().unwrap().to_owned();
    let (path, run) = (format!("/api/v1/skills/{id}"), format!("/api/v1/skills/{id}/execute"));

    ada.post(&run, json!({ "executionType": "habit" })).await.refused_field(422, "VALIDATION_ERROR", "executionType");
    ada.post(&run, json!({ "skillId": "x" })).await.refused_field(422, "VALIDATION_ERROR", "skillId");
    ada.post(&run, json!({})).await.refused(409, "SKILL_INACTIVE");
    ada.put(&path, json!({ "isActive": true })).await.ok(200);
    let refused = ada.post(&run, json!({ "input": { "n": "5" } })).await.refused(422, "INVALID_INPUT");
    let fields: Vec<_> = refused["details"]["errors"].as_array().unwrap().iter().map(|e| e["field"].clone()).collect();
    assert_eq!(fields, ["text", "n"], "every variable that is wrong is named");
    ada.post(&run, json!({ "input": { "text": "x" } })).await.refused_field(422, "MODEL_NOT_SUPPORTED", "model");
    ada.put(&path, json!({ "model": "claude-3-haiku" })).await.ok(200);
    ada.post(&run, json!({ "input": { "text": "x" } })).await.ok(202);
    let full = ada.post(&run, json!({ "input": { "text": "x" } })).await.refused(429, "TOO_MANY_ACTIVE_EXECUTIONS");
    assert_eq!(full["details"], json!({ "limit": 1, "used": 1 }));
    app.run_jobs().await;
    assert_eq!(app.count("skill_executions").await, 1, "what is refused leaves nothing behind");
}

#[tokio::test]
async fn a_provider_without_a_key_is_said_before_anything_is_written() {
    let (app, _provider) = Installation::with_provider(&[]).await;
    let ada = app.owner().await;
    let mut body = crate::harness::skill("Gemini");
    body["model"] = json!("gemini-pro");
    let id = ada.post("/api/v1/skills", body).await.ok(201)["id"].as_str().unwrap().to_owned();
    ada.post(&format!("/api/v1/skills/{id}/execute"), json!({})).await.refused(503, "PROVIDER_NOT_CONFIGURED");
    assert_eq!(app.count("skill_executions").await, 0);
}

#[tokio::test]
async fn a_waiting_run_can_be_cancelled_once() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    let id = ada.execute(&skill, json!({})).await;
    let path = format!("/api/v1/executions/{id}/cancel");
    assert_eq!(ada.post(&path, json!({})).await.ok(200), json!({ "success": true }));
    let refused = ada.call("POST".parse().unwrap(), &path, None).await.refused(409, "CANNOT_CANCEL");
    assert_eq!(refused["details"]["status"], "cancelled");
    app.run_jobs().await;
    let execution = ada.execution(&id).await;
    assert_eq!((&execution["status"], &execution["errorCode"]), (&json!("cancelled"), &json!("CANCELLED")));
    assert_eq!(ada.get(&format!("/api/v1/skills/{skill}")).await.ok(200)["executionCount"], 0);
}

#[tokio::test]
async fn what_changed_before_the_start_decides() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    let id = ada.execute(&skill, json!({ "text": "x" })).await;
    let path = format!("/api/v1/skills/{skill}");
    ada.put(&path, json!({ "promptTemplate": "Translate into Dutch: {{text}}" })).await.ok(200);
    app.run_jobs().await;
    assert!(ada.execution(&id).await["output"].as_str().unwrap().contains("Translate into Dutch: x"));

    let id = ada.execute(&skill, json!({})).await;
    ada.put(&path, json!({ "isActive": false })).await.ok(200);
    app.run_jobs().await;
    let failed = ada.execution(&id).await;
    assert_eq!((&failed["status"], &failed["errorCode"]), (&json!("failed"), &json!("SKILL_INACTIVE")));
}

#[tokio::test]
async fn the_list_filters_and_pages_newest_first() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (one, two) = (ada.create_skill("One").await, ada.create_skill("Two").await);
    let first = ada.execute(&one, json!({})).await;
    app.run_jobs().await;
    app.advance(86_400);
    let ada = app.signed_in_again(&ada).await;
    let second = ada.execute(&two, json!({})).await;
    app.advance(1);
    let third = ada.execute(&one, json!({})).await;
    let ids = async |query: &str| -> Vec<String> {
        let page = ada.get(&format!("/api/v1/executions{query}")).await.ok(200);
        page["executions"].as_array().unwrap().iter().map(|e: &Value| e["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("").await, [third.clone(), second.clone(), first.clone()]);
    assert_eq!(ids(&format!("?skillId={one}")).await, [third.clone(), first.clone()]);
    assert_eq!(ids("?status=pending").await, [third.clone(), second.clone()]);
    assert_eq!(ids("?executionType=api").await, Vec::<String>::new());
    assert_eq!(ids("?skillId=11111111-1111-4111-8111-111111111111").await, Vec::<String>::new());
    assert_eq!(ids("?limit=1&offset=1").await, [&*second]);
    let day = ada.execution(&first).await["executedAt"].as_str().unwrap()[..10].to_owned();
    assert_eq!(ids(&format!("?endDate={day}")).await, [&*first]);
    assert_eq!(ids(&format!("?startDate={day}&endDate={day}")).await, [first]);
    let page = ada.get("/api/v1/executions?limit=2").await.ok(200);
    assert_eq!((&page["total"], &page["pageSize"], &page["hasMore"]), (&json!(3), &json!(2), &json!(true)));
    assert_eq!(page["executions"][0]["skill"]["name"], "One");
    app.run_jobs().await;
}

#[tokio::test]
async fn a_run_whose_worker_is_lost_fails_and_is_not_repeated() {
    let (app, provider) = Installation::with_provider(&[]).await;
    provider.always(Reply::hang());
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    let id = ada.execute(&skill, json!({})).await;
    let worker = {
        let app = app.app.clone();
        tokio::spawn(async move { kijko_core::services::worker::run_ready(&app).await })
    };
    provider.wait_for_calls(1).await;
    eventually("the run is claimed", async || ada.execution(&id).await["status"] == "running").await;
    worker.abort();
    app.advance(61);
    // The engine's own job stays with the dead worker; the row is what counts.
    app.sql("UPDATE graphile_worker._private_jobs SET locked_at = NULL, locked_by = NULL").await;
    app.run_jobs().await;
    let lost = ada.execution(&id).await;
    assert_eq!((&lost["status"], &lost["errorCode"]), (&json!("failed"), &json!("WORKER_LOST")));
    assert_eq!(provider.call_count(), 1, "the provider may have charged for it, so it is not called again");
}

#[tokio::test]
async fn a_waiting_run_that_lost_its_job_gets_a_new_one() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    let id = ada.execute(&skill, json!({})).await;
    app.sql("DELETE FROM graphile_worker._private_jobs").await;
    app.run_jobs().await;
    assert_eq!(ada.execution(&id).await["status"], "pending", "a young run may still be on its way");
    app.advance(61);
    app.run_jobs().await;
    assert_eq!(ada.execution(&id).await["status"], "completed");
}

#[tokio::test]
async fn the_backlog_of_one_organisation_does_not_starve_another() {
    let (app, provider) =
        Installation::with_provider(&[("JOB_CONCURRENCY", "1"), ("MAX_ACTIVE_EXECUTIONS", "100")]).await;
    provider.always(Reply::text(&["ok"], 1, 1));
    let (ada, eve) = (app.owner().await, app.stranger().await);
    let (hers, other) = (ada.create_skill("Many").await, eve.create_skill("Few").await);
    for n in 0..30 {
        ada.execute(&hers, json!({ "text": format!("many {n}") })).await;
    }
    for n in 0..3 {
        eve.execute(&other, json!({ "text": format!("few {n}") })).await;
    }
    app.run_jobs().await;
    let calls = provider.calls();
    let last_of_the_few = calls.iter().rposition(|call| call.prompt().contains("few")).unwrap();
    assert!(last_of_the_few <= 8, "three runs wait for a handful of others, not for thirty: {last_of_the_few}");
}
