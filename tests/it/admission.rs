//! What a run must pass before it waits for a worker: limits hold exactly, however many ask at once, and asking again
//! with the same `Idempotency-Key` starts nothing new.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Installation, skill};

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
