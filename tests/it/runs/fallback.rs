//! The fallback model of a skill: asked when the provider of the first is down and nothing was shown, and never
//! otherwise. The run tells who answered, and costs what each of them cost.

use serde_json::{Value, json};

use super::Bench;
use crate::harness::provider::{Provider, Reply, google};
use crate::harness::{Installation, skill};

const SONNET: &str = "claude-3-5-sonnet-20241022";
const GEMINI: &str = "gemini-3-flash-preview";

/// Somebody whose skill asks Sonnet, and Gemini in its place.
async fn bench(more: &[(&str, &str)]) -> Bench {
    let provider = Provider::start().await;
    let mut settings = vec![
        ("ANTHROPIC_API_KEY", crate::harness::provider::API_KEY),
        ("ANTHROPIC_BASE_URL", provider.url()),
        ("GOOGLE_API_KEY", google::KEY),
        ("GOOGLE_BASE_URL", provider.url()),
    ];
    settings.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
    settings.extend(more.iter().copied().filter(|(_, value)| !value.is_empty()));
    let app = Installation::with(&settings).await;
    let ada = app.owner().await;
    let mut body = skill("Summary");
    body["model"] = SONNET.into();
    body["fallbackModel"] = GEMINI.into();
    let created = ada.post("/api/v1/skills", body).await.ok(201);
    assert_eq!(created["fallbackModel"], GEMINI);
    let skill = created["id"].as_str().expect("an id").to_owned();
    Bench { app, provider, ada, skill }
}

fn answered_by(execution: &Value) -> (&str, &str, &str) {
    let text = |member: &str| execution[member].as_str().unwrap_or_default();
    (text("provider"), text("model"), text("requestedModel"))
}

#[tokio::test]
async fn it_stands_in_for_a_provider_that_is_down() {
    let bench = bench(&[]).await;
    for status in [429, 502, 503, 529] {
        let down = (0..4).map(|_| Reply::error(status, "down"));
        let run = bench.run(down.chain([google::text(&["ok"], 10, 5)])).await;
        run.completed("ok");
        run.used((10, 5));
        assert_eq!(run.calls.len(), 5, "it is asked after the retries, not in their place");
        assert_eq!(answered_by(&run.execution), ("google", GEMINI, SONNET));
    }
    let run = bench.run((0..4).map(|_| Reply::cut_before_head()).chain([google::text(&["ok"], 10, 5)])).await;
    run.completed("ok");
    let at_once = [Reply::error(429, "wait").retry_after(3600), google::text(&["ok"], 10, 5)];
    assert_eq!(bench.run(at_once).await.calls.len(), 2, "a wait that is too long is not waited for");
    let run = bench.run([Reply::text(&["first"], 1, 1)]).await;
    assert_eq!(answered_by(&run.execution), ("anthropic", "claude-sonnet-4-6", ""), "it is not asked when not needed");
}

#[tokio::test]
async fn the_usage_of_both_is_added_and_each_is_paid_at_its_own_rates() {
    let bench = bench(&[]).await;
    let broken = (0..4).map(|_| Reply::cut_after(&[]));
    let run = bench.run(broken.chain([google::text(&["ok"], 1_000_000, 100_000)])).await;
    run.completed("ok");
    run.used((4 * 25 + 1_000_000, 4 + 100_000));
    // Four times 25 and 1 tokens at 3 and 15 dollars per million; a million and 100 000 at 0.5 and 3.
    let exact = "skill_executions WHERE cost_usd = 0.00036 + 0.8 AND attempts = 5";
    assert_eq!(bench.app.count(exact).await, 1, "each attempt costs what its own model costs");
}

#[tokio::test]
async fn it_has_retries_of_its_own_and_its_last_error_is_told() {
    let bench = bench(&[]).await;
    let down = (0..4).map(|_| Reply::error(503, "down"));
    let run = bench.run(down.chain([google::error(500, "passing"), google::text(&["ok"], 1, 1)])).await;
    run.completed("ok");
    let both = (0..4).map(|_| Reply::error(503, "down")).chain((0..4).map(|_| google::error(429, "down")));
    let run = bench.run(both).await;
    run.failed("RATE_LIMITED", 8);
    assert_eq!(answered_by(&run.execution), ("google", GEMINI, SONNET));
}

#[tokio::test]
async fn it_is_never_asked_after_text_or_for_what_is_not_the_providers_fault() {
    let bench = bench(&[]).await;
    bench.run([Reply::cut_after(&["Once "])]).await.failed("PROVIDER_UNREACHABLE", 1);
    bench.run([Reply::error_event("overloaded_error", "down", &["Once "])]).await.failed("SERVICE_UNAVAILABLE", 1);
    for (status, code) in
        [(400, "BAD_REQUEST"), (401, "INVALID_API_KEY"), (403, "API_ERROR"), (404, "MODEL_NOT_SUPPORTED")]
    {
        bench.run([Reply::error(status, "no")]).await.failed(code, 1);
    }
    bench.run([Reply::refusal(&[], 1, 1)]).await.failed("CONTENT_BLOCKED", 1);
}

#[tokio::test]
async fn it_stands_in_for_a_provider_that_is_not_set_up() {
    let bench = bench(&[("ANTHROPIC_API_KEY", "")]).await;
    let run = bench.run([google::text(&["ok"], 1, 1)]).await;
    run.completed("ok");
    assert_eq!(answered_by(&run.execution), ("google", GEMINI, SONNET));
}

#[tokio::test]
async fn no_fallback_is_begun_after_the_soft_limit() {
    let bench = bench(&[("EXECUTION_SOFT_LIMIT_SECS", "1"), ("MODEL_INACTIVITY_TIMEOUT_SECS", "1")]).await;
    bench.run([Reply::hang()]).await.failed("PROVIDER_UNREACHABLE", 1);
}

#[tokio::test]
async fn a_fallback_that_nobody_serves_is_none() {
    let bench = bench(&[("GOOGLE_API_KEY", "")]).await;
    bench.run((0..4).map(|_| Reply::error(503, "down"))).await.failed("SERVICE_UNAVAILABLE", 4);
    let path = format!("/api/v1/skills/{}", bench.skill);
    bench.ada.put(&path, json!({ "fallbackModel": "gpt-4" })).await.ok(200);
    bench.run([Reply::text(&["ok"], 1, 1)]).await.completed("ok");
}

#[tokio::test]
async fn it_can_be_named_changed_and_taken_away() {
    let bench = bench(&[]).await;
    let path = format!("/api/v1/skills/{}", bench.skill);
    let changed = bench.ada.put(&path, json!({ "name": "Other" })).await.ok(200);
    assert_eq!(changed["fallbackModel"], GEMINI, "another change leaves it alone");
    let changed = bench.ada.put(&path, json!({ "fallback_model": "claude-3-opus" })).await.ok(200);
    assert_eq!(changed["fallbackModel"], "claude-3-opus");
    for bad in [json!(""), json!("x".repeat(101))] {
        let body = json!({ "fallbackModel": bad });
        bench.ada.put(&path, body).await.refused_field(422, "VALIDATION_ERROR", "fallbackModel");
    }
    let cleared = bench.ada.put(&path, json!({ "fallbackModel": null })).await.ok(200);
    assert!(cleared.get("fallbackModel").is_none(), "{cleared}");
    let down = (0..4).map(|_| Reply::error(503, "down"));
    bench.run(down).await.failed("SERVICE_UNAVAILABLE", 4);
}

#[tokio::test]
async fn it_is_part_of_what_a_version_records() {
    let bench = bench(&[]).await;
    let path = format!("/api/v1/skills/{}", bench.skill);
    assert_eq!(bench.ada.put(&path, json!({ "fallbackModel": null })).await.ok(200)["version"], 2);
    let first = bench.ada.get(&format!("{path}/versions/1")).await.ok(200);
    assert_eq!(first["fallbackModel"], GEMINI, "{first}");
    let restored = bench.ada.post(&format!("{path}/versions/1/restore"), json!({})).await.ok(200);
    assert_eq!((&restored["fallbackModel"], &restored["version"]), (&json!(GEMINI), &json!(3)), "{restored}");
}
