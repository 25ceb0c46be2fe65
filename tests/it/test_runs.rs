//! A test runs a skill, stored or not, as a run would, and leaves nothing behind but its result, and that for an hour.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::provider::Reply;
use crate::harness::{Installation, Person, eventually, skill};

const DRAFT: &str = "/api/v1/skills/test";

/// Begins a test and returns its id.
async fn begin(person: &Person, path: &str, body: Value) -> String {
    person.post(path, body).await.ok(202)["executionId"].as_str().expect("an id").to_owned()
}

async fn result(person: &Person, id: &str) -> Value {
    person.get(&format!("/api/v1/skills/test/{id}")).await.ok(200)
}

#[tokio::test]
async fn a_stored_skill_is_tested_without_a_trace() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let mut body = skill("Greeting");
    body["promptTemplate"] = json!("Greet {{name}} in a {{tone}} tone");
    body["inputSchema"] = json!([
        { "name": "name", "type": "string", "required": true },
        { "name": "tone", "type": "string", "default": "friendly" }
    ]);
    body["isActive"] = json!(false);
    let stored = ada.post("/api/v1/skills", body).await.ok(201);
    let path = format!("/api/v1/skills/{}", stored["id"].as_str().unwrap());

    let reply = ada.post(&format!("{path}/test"), json!({ "input": { "name": 5 } })).await;
    assert_eq!(reply.header("x-ratelimit-remaining"), Some("999"), "a test uses one call of the plan");
    let location = reply.header("location").expect("an address to look at").to_owned();
    let accepted = reply.ok(202);
    let id = accepted["executionId"].as_str().unwrap();
    assert!(id.starts_with("test-") && location.ends_with(id), "{accepted} {location}");
    assert_eq!(accepted, json!({ "executionId": id, "status": "pending" }));
    assert_eq!(ada.get(&location).await.ok(200), accepted);

    app.run_jobs().await;
    let done = ada.get(&location).await.ok(200);
    assert_eq!((&done["executionId"], &done["status"]), (&json!(id), &json!("completed")));
    let output = done["output"].as_str().unwrap();
    assert!(output.contains("Greet 5 in a friendly tone"), "defaults are applied, nothing is validated: {done}");
    assert!(done["tokensUsed"].is_u64() && done["durationMs"].is_u64() && done.get("error").is_none(), "{done}");
    assert_eq!(app.count("skill_executions").await, 0);
    assert_eq!(ada.get(&path).await.ok(200), stored, "the skill is as before");
    let nobody_asked = app.count("skill_transient_runs WHERE payload IS NOT NULL").await;
    assert_eq!(nobody_asked, 0, "what was asked goes with the end");

    let without_body = ada.call("POST".parse().unwrap(), &format!("{path}/test"), None).await.ok(202);
    assert_eq!(without_body["status"], "pending");
    app.run_jobs().await;
}

#[tokio::test]
async fn a_draft_is_tested_with_its_system_prompt_and_the_defaults_of_a_run() {
    let (app, provider) = Installation::with_provider(&[]).await;
    provider.always(Reply::text(&["Hello, ", "world."], 30, 12));
    let ada = app.owner().await;
    let prompt = "x".repeat(200_000);
    let body = json!({ "promptTemplate": prompt, "systemPrompt": "Be brief." });
    let id = begin(&ada, DRAFT, body).await;
    let body = json!({
        "promptTemplate": "Say {{word}} and {{other}}", "input": { "word": "yes" }, "model": "claude-3-haiku",
        "parameters": { "temperature": 0.2, "max_tokens": 100, "stop_sequences": ["END"] }
    });
    let second = begin(&ada, DRAFT, body).await;
    app.run_jobs().await;
    let done = result(&ada, &id).await;
    assert_eq!(done["output"], "Hello, world.");
    assert_eq!(done["tokensUsed"], 42);
    assert_eq!(result(&ada, &second).await["status"], "completed");
    let calls = provider.calls();
    let plain = calls.iter().find(|call| call.prompt() == prompt).expect("the first was asked");
    assert_eq!(plain.body["system"], "Be brief.");
    assert_eq!((&plain.body["max_tokens"], plain.body["temperature"].as_f64()), (&json!(4096), Some(1.0)));
    let said = calls.iter().find(|call| call.prompt() == "Say yes and {{other}}").expect("the second was asked");
    assert_eq!((&said.body["max_tokens"], &said.body["stop_sequences"]), (&json!(100), &json!(["END"])));
    assert!(said.body.get("system").is_none(), "{}", said.body);
}

#[tokio::test]
async fn what_cannot_be_tested_is_refused_before_anything_is_written() {
    let (app, _provider) = Installation::with_provider(&[("MAX_ACTIVE_EXECUTIONS", "1")]).await;
    let ada = app.owner().await;
    let draft = |more: Value| {
        let mut body = json!({ "promptTemplate": "Summarise in one line" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let refused = ada.post(DRAFT, json!({ "promptTemplate": "short", "parameters": { "temperature": 3 } })).await;
    let refused = refused.refused(422, "VALIDATION_ERROR");
    let fields: Vec<&Value> = refused["details"]["errors"].as_array().unwrap().iter().map(|e| &e["field"]).collect();
    assert_eq!(fields, ["promptTemplate", "parameters.temperature"]);
    ada.post(DRAFT, json!({})).await.refused_field(422, "VALIDATION_ERROR", "promptTemplate");
    ada.post(DRAFT, draft(json!({ "model": "gpt-4" }))).await.refused(422, "MODEL_NOT_SUPPORTED");
    ada.post(DRAFT, draft(json!({ "model": "gemini-pro" }))).await.refused(503, "PROVIDER_NOT_CONFIGURED");
    let long = json!({ "input": { "a": "x".repeat(600_000) }, "promptTemplate": "{{a}}".repeat(10) });
    ada.post(DRAFT, draft(long)).await.refused_field(422, "VALIDATION_ERROR", "input");

    let mut body = skill("Of another provider");
    body["model"] = json!("gemini-pro");
    let stored = ada.post("/api/v1/skills", body).await.ok(201)["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/skills/{stored}");
    ada.post(&format!("{path}/test"), json!({})).await.refused(503, "PROVIDER_NOT_CONFIGURED");
    ada.put(&path, json!({ "model": "gpt-4" })).await.ok(200);
    ada.post(&format!("{path}/test"), json!({})).await.refused(422, "MODEL_NOT_SUPPORTED");
    let bad = json!({ "input": { "a": "\u{0}" } });
    ada.post(&format!("{path}/test"), bad).await.refused_field(422, "VALIDATION_ERROR", "input");
    for nothing in ["11111111-1111-4111-8111-111111111111", "x"] {
        ada.post(&format!("/api/v1/skills/{nothing}/test"), json!({})).await.refused(404, "SKILL_NOT_FOUND");
    }
    let viewer = app.member(&ada, "viewer").await;
    viewer.post(DRAFT, draft(json!({}))).await.refused(403, "FORBIDDEN");
    assert_eq!(app.count("skill_transient_runs").await, 0);
    assert_eq!(app.count("usage_counters").await, 0, "what is refused is not counted");

    ada.put(&path, json!({ "model": "claude-3-haiku" })).await.ok(200);
    begin(&ada, DRAFT, draft(json!({}))).await;
    for full in [format!("{path}/test"), DRAFT.to_owned(), format!("{path}/execute")] {
        let refused = ada.post(&full, draft(json!({}))).await.refused(429, "TOO_MANY_ACTIVE_EXECUTIONS");
        assert_eq!(refused["details"], json!({ "limit": 1, "used": 1 }), "{full}");
    }
    app.run_jobs().await;
    app.sql("UPDATE usage_counters SET used = 1000").await;
    for full in [format!("{path}/test"), DRAFT.to_owned()] {
        ada.post(&full, draft(json!({}))).await.refused(429, "QUOTA_EXCEEDED");
    }
}

#[tokio::test]
async fn runs_and_tests_share_the_limit_of_active_runs_in_a_race() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    let paths = ["execute", "test"].map(|what| format!("/api/v1/skills/{skill}/{what}"));
    let replies = join_all((0..200).map(|n| ada.post(&paths[n % 2], json!({})))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 202).count(), 20);
    for reply in replies.into_iter().filter(|reply| reply.status != 202) {
        reply.refused(429, "TOO_MANY_ACTIVE_EXECUTIONS");
    }
    app.run_jobs().await;
    let ended = app.count("skill_transient_runs WHERE status = 'completed'").await;
    assert_eq!(ended + app.count("skill_executions WHERE status = 'completed'").await, 20);
}

#[tokio::test]
async fn a_test_is_shown_to_nobody_else_and_for_an_hour() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let (colleague, stranger) = (app.member(&ada, "admin").await, app.stranger().await);
    let id = begin(&ada, DRAFT, json!({ "promptTemplate": "TOP-SECRET plans" })).await;
    let path = format!("/api/v1/skills/test/{id}");
    app.run_jobs().await;
    for other in [&colleague, &stranger] {
        other.get(&path).await.refused(404, "EXECUTION_NOT_FOUND");
    }
    for nothing in [&id["test-".len()..], "test-x", "test-11111111-1111-4111-8111-111111111111"] {
        ada.get(&format!("/api/v1/skills/test/{nothing}")).await.refused(404, "EXECUTION_NOT_FOUND");
    }
    ada.get(&format!("/api/v1/executions/{id}")).await.refused(404, "EXECUTION_NOT_FOUND");
    app.advance(3599);
    let ada = app.signed_in_again(&ada).await;
    ada.get(&path).await.ok(200);
    app.advance(1);
    ada.get(&path).await.refused(404, "EXECUTION_NOT_FOUND");
    app.run_jobs().await;
    assert_eq!(app.count("skill_transient_runs").await, 0, "what expired is deleted");
}

#[tokio::test]
async fn a_repeated_request_begins_no_second_test() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let skill = ada.create_skill("Summary").await;
    let stored = format!("/api/v1/skills/{skill}/test");
    let (draft, other) = (json!({ "promptTemplate": "Ten chars!" }), json!({ "promptTemplate": "Ten more chars" }));
    for (path, key, body, different) in
        [(&*stored, "a", json!({}), json!({ "input": { "text": "x" } })), (DRAFT, "b", draft, other)]
    {
        let replies = join_all((0..12).map(|_| ada.post_once(path, key, body.clone()))).await;
        let replies: Vec<Value> = replies.into_iter().map(|reply| reply.ok(202)).collect();
        assert!(replies.iter().all(|reply| reply == &replies[0]), "everybody gets what the first one got: {replies:?}");
        app.run_jobs().await;
        assert_eq!(ada.post_once(path, key, body).await.ok(202), replies[0]);
        ada.post_once(path, key, different).await.refused(409, "IDEMPOTENCY_CONFLICT");
    }
    assert_eq!(app.count("skill_transient_runs").await, 2);
    assert_eq!(app.count("usage_counters WHERE used = 2").await, 1);
}

#[tokio::test]
async fn a_test_that_fails_says_why() {
    let (app, provider) = Installation::with_provider(&[]).await;
    provider.always(Reply::error(400, "the prompt is not good"));
    let ada = app.owner().await;
    let id = begin(&ada, DRAFT, json!({ "promptTemplate": "Summarise in one line" })).await;
    app.run_jobs().await;
    let failed = result(&ada, &id).await;
    assert_eq!((&failed["status"], &failed["errorCode"]), (&json!("failed"), &json!("BAD_REQUEST")));
    assert!(failed["error"].as_str().unwrap().contains("the prompt is not good"), "{failed}");
    assert!(failed.get("output").is_none(), "{failed}");
}

#[tokio::test]
async fn a_test_whose_worker_is_lost_fails_and_is_not_repeated() {
    let (app, provider) = Installation::with_provider(&[]).await;
    provider.always(Reply::hang());
    let ada = app.owner().await;
    let id = begin(&ada, DRAFT, json!({ "promptTemplate": "Summarise in one line" })).await;
    let worker = {
        let app = app.app.clone();
        tokio::spawn(async move { kijko_core::services::worker::run_ready(&app).await })
    };
    provider.wait_for_calls(1).await;
    eventually("the test is claimed", async || result(&ada, &id).await["status"] == "running").await;
    worker.abort();
    app.advance(61);
    // The engine's own job stays with the dead worker; the row is what counts.
    app.sql("UPDATE graphile_worker._private_jobs SET locked_at = NULL, locked_by = NULL").await;
    app.run_jobs().await;
    let lost = result(&ada, &id).await;
    assert_eq!((&lost["status"], &lost["errorCode"]), (&json!("failed"), &json!("WORKER_LOST")));
    assert_eq!(provider.call_count(), 1, "the provider may have charged for it, so it is not called again");
}

#[tokio::test]
async fn a_waiting_test_that_lost_its_job_gets_a_new_one() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let id = begin(&ada, DRAFT, json!({ "promptTemplate": "Summarise in one line" })).await;
    app.sql("DELETE FROM graphile_worker._private_jobs").await;
    app.run_jobs().await;
    assert_eq!(result(&ada, &id).await["status"], "pending", "a young test may still be on its way");
    app.advance(61);
    app.run_jobs().await;
    assert_eq!(result(&ada, &id).await["status"], "completed");
}
