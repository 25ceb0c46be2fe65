//! Anthropic's answers, and what holds for a call of any provider: attempts, waits, limits, cancelling.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{BEGUN, Bench};
use crate::harness::eventually;
use crate::harness::provider::{API_KEY, Provider, Reply};

#[tokio::test]
async fn streamed_text_arrives_whole_however_it_is_cut() {
    let bench = Bench::new(&[]).await;
    let pieces = ["Héllo", ", ", "wörld ", "🦀."];
    let reply = Reply::text(&pieces, 12, 34);
    for reply in [reply.clone().in_chunks_of(3), reply.clone().with_crlf().with_pings(), reply.with_pings()] {
        let run = bench.run([reply]).await;
        run.completed("Héllo, wörld 🦀.");
        run.used((12, 34));
    }
    let run = bench.run([Reply::blocks(&[&["One ", "line"], &["and another"]], 1, 2)]).await;
    run.completed("One line\nand another");
    let call = &run.calls[0];
    assert_eq!(call.prompt(), "Summarise in one line: x");
    assert_eq!((call.header("anthropic-version"), call.header("x-api-key")), (Some("2023-06-01"), Some(API_KEY)));
}

#[tokio::test]
async fn a_passing_failure_is_retried() {
    let bench = Bench::new(&[]).await;
    for status in [429, 500, 502, 503, 504, 529] {
        let run = bench.run([Reply::error(status, "wait"), Reply::text(&["ok"], 10, 5)]).await;
        run.completed("ok");
        run.used((10, 5));
        assert_eq!(run.calls.len(), 2, "{status} is tried again, once is enough");
    }
    let failures = [Reply::error(529, "wait"), Reply::cut_before_head(), Reply::error(503, "wait")];
    let run = bench.run(failures.into_iter().chain([Reply::text(&["ok"], 10, 5)])).await;
    run.completed("ok");
    assert_eq!(run.calls.len(), 4, "the fourth attempt is the last, and it counts");
}

#[tokio::test]
async fn four_attempts_are_all_and_the_last_error_is_told() {
    let bench = Bench::new(&[]).await;
    for (status, code) in [(429, "RATE_LIMITED"), (500, "API_ERROR"), (503, "SERVICE_UNAVAILABLE")] {
        let run = bench.run((0..4).map(|_| Reply::error(status, "their words"))).await;
        let message = run.failed(code, 4);
        assert!(!message.contains("their words"), "{message}");
        run.used_nothing();
    }
    let last = [Reply::error(429, "a"), Reply::error(500, "b"), Reply::error(503, "c"), Reply::error(529, "d")];
    bench.run(last).await.failed("SERVICE_UNAVAILABLE", 4);
}

#[tokio::test]
async fn what_cannot_get_better_is_not_retried() {
    let bench = Bench::new(&[]).await;
    let words = "their words, and the account of org-4711";
    for (status, code) in [
        (400, "BAD_REQUEST"),
        (401, "INVALID_API_KEY"),
        (403, "API_ERROR"),
        (404, "MODEL_NOT_SUPPORTED"),
        (413, "API_ERROR"),
        (418, "API_ERROR"),
    ] {
        let run = bench.run([Reply::error(status, words)]).await;
        let message = run.failed(code, 1);
        assert_eq!(message == words, status == 400, "only the message of a 400 is passed on: {message}");
        assert!(status == 400 || !message.contains("4711"), "{message}");
        run.used_nothing();
    }
    let run = bench.run([Reply::error(400, &"é".repeat(3000))]).await;
    assert!(run.failed("BAD_REQUEST", 1).chars().count() <= 500, "a long message is shortened");
    let run = bench.run([Reply::status(400, "<html>not theirs</html>")]).await;
    assert!(!run.failed("BAD_REQUEST", 1).contains("html"), "what is not in their form is not passed on");
}

#[tokio::test]
async fn the_provider_may_ask_for_a_wait_up_to_a_minute() {
    let bench = Bench::new(&[]).await;
    let run = bench.run([Reply::error(429, "wait").retry_after(1), Reply::text(&["ok"], 1, 1)]).await;
    run.completed("ok");
    let waited = run.calls[1].received_at - run.calls[0].received_at;
    assert!(waited >= Duration::from_secs(1), "Retry-After is honoured; the next call came after {waited:?}");

    let started = Instant::now();
    let run = bench.run([Reply::error(429, "wait").retry_after(61)]).await;
    run.failed("RATE_LIMITED", 1);
    assert!(started.elapsed() < Duration::from_secs(10), "a longer wait than a minute fails the run at once");
}

#[tokio::test]
async fn a_connection_that_breaks_is_retried_only_before_the_first_text() {
    let bench = Bench::new(&[]).await;
    for (reply, used) in [
        (Reply::cut_before_head(), (10, 5)),
        (Reply::cut_after(&[]), (10 + BEGUN.0, 5 + BEGUN.1)),
        (Reply::ends_early(&[]), (10 + BEGUN.0, 5 + BEGUN.1)),
    ] {
        let run = bench.run([reply, Reply::text(&["ok"], 10, 5)]).await;
        run.completed("ok");
        run.used(used);
        assert_eq!(run.calls.len(), 2);
    }
    for reply in [Reply::cut_after(&["Once "]), Reply::ends_early(&["Once "])] {
        let run = bench.run([reply]).await;
        run.failed("PROVIDER_UNREACHABLE", 1);
        run.used(BEGUN);
    }
    let run = bench.run((0..4).map(|_| Reply::cut_before_head())).await;
    run.failed("PROVIDER_UNREACHABLE", 4);
    run.used_nothing();
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_told_as_unreachable() {
    let url = Provider::refused_url().await;
    let bench = Bench::new(&[("ANTHROPIC_BASE_URL", &url)]).await;
    let id = bench.ada.execute(&bench.skill, json!({ "text": "x" })).await;
    bench.app.run_jobs().await;
    let failed = bench.ada.execution(&id).await;
    assert_eq!(failed["errorCode"], "PROVIDER_UNREACHABLE", "{failed}");
    assert!(!failed.to_string().contains("127.0.0.1"), "no address is told: {failed}");
    assert_eq!(bench.app.count("skill_executions WHERE attempts = 4").await, 1, "it was tried four times");
}

#[tokio::test]
async fn an_error_within_the_stream_counts_like_its_status() {
    let bench = Bench::new(&[]).await;
    for kind in ["overloaded_error", "api_error", "rate_limit_error"] {
        let run = bench.run([Reply::error_event(kind, "wait", &[]), Reply::text(&["ok"], 10, 5)]).await;
        run.completed("ok");
        run.used((10 + BEGUN.0, 5 + BEGUN.1));
    }
    let run = bench.run((0..4).map(|_| Reply::error_event("overloaded_error", "wait", &[]))).await;
    run.failed("SERVICE_UNAVAILABLE", 4);
    run.used((4 * BEGUN.0, 4 * BEGUN.1));
    let run = bench.run([Reply::error_event("overloaded_error", "wait", &["Once "])]).await;
    run.failed("SERVICE_UNAVAILABLE", 1);
    run.used(BEGUN);
    let run = bench.run([Reply::error_event("invalid_request_error", "too long", &[])]).await;
    assert_eq!(run.failed("BAD_REQUEST", 1), "too long");
    bench.run([Reply::malformed(&[])]).await.failed("API_ERROR", 1);
}

#[tokio::test]
async fn silence_counts_as_a_broken_connection() {
    let bench = Bench::new(&[("MODEL_INACTIVITY_TIMEOUT_SECS", "1")]).await;
    let run = bench.run([Reply::hang(), Reply::text(&["ok"], 10, 5)]).await;
    run.completed("ok");
    assert!(run.calls[0].left_at().is_some(), "the silent connection is closed: {:?}", run.calls[0].ending);
    let run = bench.run([Reply::hang_after(&["Once "])]).await;
    run.failed("PROVIDER_UNREACHABLE", 1);
    run.used(BEGUN);
}

#[tokio::test]
async fn an_answer_may_take_long_as_long_as_it_keeps_coming() {
    let bench = Bench::new(&[("MODEL_INACTIVITY_TIMEOUT_SECS", "1")]).await;
    let pieces = ["a"; 6];
    let run = bench.run([Reply::text(&pieces, 1, 1).paced(Duration::from_millis(250))]).await;
    run.completed("aaaaaa");
}

#[tokio::test]
async fn a_run_is_stopped_at_the_hard_limit() {
    let bench = Bench::new(&[("EXECUTION_HARD_LIMIT_SECS", "1")]).await;
    let run = bench.run([Reply::hang_after(&["Once "])]).await;
    let message = run.failed("EXECUTION_TIMEOUT", 1);
    assert!(message.contains("1 second"), "the limit is told: {message}");
    run.used(BEGUN);
    bench.provider.wait_for_disconnect().await;
}

#[tokio::test]
async fn no_attempt_is_started_after_the_soft_limit() {
    let bench = Bench::new(&[("EXECUTION_SOFT_LIMIT_SECS", "2")]).await;
    let replies = [Reply::error(503, "wait").retry_after(1), Reply::error(503, "wait").retry_after(1)];
    bench.run(replies).await.failed("SERVICE_UNAVAILABLE", 2);
}

#[tokio::test]
async fn cancelling_closes_the_connection_and_keeps_what_was_used() {
    let bench = Bench::new(&[]).await;
    let worker = bench.worker();
    let id = bench.run_that_hangs().await;
    let asked = Instant::now();
    bench.ada.post(&format!("/api/v1/executions/{id}/cancel"), json!({})).await.ok(200);
    let left = bench.provider.wait_for_disconnect().await.left_at().expect("it was left");
    assert!(left - asked < Duration::from_secs(2), "the provider is left within two seconds, not {:?}", left - asked);
    bench.tokens_arrive(&id).await;
    let cancelled = bench.ada.execution(&id).await;
    assert_eq!((&cancelled["status"], &cancelled["errorCode"]), (&json!("cancelled"), &json!("CANCELLED")));
    assert!(cancelled["completedAt"].is_string() && cancelled.get("output").is_none(), "{cancelled}");
    worker.stop().await;
    assert_eq!(bench.provider.call_count(), 2, "what is cancelled is not called again");
    let skill = bench.ada.get(&format!("/api/v1/skills/{}", bench.skill)).await.ok(200);
    assert_eq!(skill["executionCount"], 0);
}

#[tokio::test]
async fn deleting_the_skill_ends_its_run() {
    let bench = Bench::new(&[]).await;
    let worker = bench.worker();
    let id = bench.run_that_hangs().await;
    let asked = Instant::now();
    let reply = bench.ada.delete(&format!("/api/v1/skills/{}", bench.skill)).await;
    assert!(reply.status.is_success(), "{}", reply.text);
    let left = bench.provider.wait_for_disconnect().await.left_at().expect("it was left");
    assert!(left - asked < Duration::from_secs(2), "the provider is left within two seconds, not {:?}", left - asked);
    bench.tokens_arrive(&id).await;
    let ended = bench.ada.execution(&id).await;
    assert_eq!((&ended["status"], &ended["errorCode"]), (&json!("cancelled"), &json!("SKILL_DELETED")));
    assert!(ended.get("skillId").is_none(), "the skill is gone: {ended}");
    worker.stop().await;
}

#[tokio::test]
async fn cancelling_between_two_attempts_makes_no_further_call() {
    let bench = Bench::new(&[]).await;
    bench.provider.script(Reply::error(429, "wait").retry_after(60));
    let worker = bench.worker();
    let id = bench.ada.execute(&bench.skill, json!({ "text": "x" })).await;
    bench.provider.wait_for_calls(1).await;
    bench.provider.wait_until_idle().await;
    bench.ada.post(&format!("/api/v1/executions/{id}/cancel"), json!({})).await.ok(200);
    eventually("the worker lets the job go", async || bench.app.count("graphile_worker._private_jobs").await == 0)
        .await;
    assert_eq!(bench.ada.execution(&id).await["status"], "cancelled");
    worker.stop().await;
    assert_eq!(bench.provider.call_count(), 1);
}

#[tokio::test]
async fn a_refusal_is_a_failure_only_without_text() {
    let bench = Bench::new(&[]).await;
    let run = bench.run([Reply::refusal(&[], 30, 2)]).await;
    run.failed("CONTENT_BLOCKED", 1);
    run.used((30, 2));
    bench.run([Reply::refusal(&["I would rather not."], 1, 1)]).await.completed("I would rather not.");
}

#[tokio::test]
async fn an_answer_that_is_empty_or_cut_off_is_an_answer() {
    let bench = Bench::new(&[]).await;
    let run = bench.run([Reply::text(&[], 7, 0)]).await;
    run.completed("");
    run.used((7, 0));
    for reason in ["max_tokens", "stop_sequence"] {
        bench.run([Reply::text(&["Once"], 1, 1).stop_reason(reason)]).await.completed("Once");
    }
    let skill = bench.ada.get(&format!("/api/v1/skills/{}", bench.skill)).await.ok(200);
    assert_eq!(skill["executionCount"], 3, "each of them counts");
}

#[tokio::test]
async fn cached_prompt_tokens_are_prompt_tokens() {
    let bench = Bench::new(&[]).await;
    let reply = Reply::text(&["ok"], 10, 5);
    let cached = reply.with_usage("message_start", "cache_read_input_tokens", 100);
    bench.run([cached]).await.used((110, 5));
}

#[tokio::test]
async fn the_request_says_what_the_skill_and_the_catalogue_allow() {
    let bench = Bench::new(&[]).await;
    let sonnet = "claude-3-5-sonnet-20241022";
    let message = json!([{ "role": "user", "content": "Summarise in one line: x" }]);
    let with = |more: Value| {
        let mut body =
            json!({ "model": "claude-sonnet-4-6", "max_tokens": 4096, "messages": message.clone(), "stream": true });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let defaults = with(json!({ "temperature": 1 }));
    assert_eq!(bench.body_for(sonnet, json!({})).await, defaults, "the defaults are 1 and 4096");
    let both = json!({ "temperature": 0.5, "top_p": 0.9 });
    let once = bench.body_for(sonnet, both).await;
    assert_eq!(once, with(json!({ "temperature": 0.5 })), "newer models refuse both, so the temperature is sent alone");
    let alone = bench.body_for(sonnet, json!({ "top_p": 0.9 })).await;
    assert_eq!(alone, with(json!({ "top_p": 0.9 })), "top_p alone stays alone");
    let all = json!({ "max_tokens": 8192, "temperature": 0, "top_k": 40, "stop_sequences": ["END", "\n\n#"] });
    assert_eq!(bench.body_for(sonnet, all.clone()).await, with(all));
    let capped = bench.body_for("claude-3-opus-20240229", json!({ "max_tokens": 8192 })).await;
    assert_eq!((&capped["model"], &capped["max_tokens"]), (&json!("claude-opus-4-6"), &json!(4096)));
    assert_eq!(bench.body_for(sonnet, json!({ "max_tokens": 1 })).await["max_tokens"], 1);
}

#[tokio::test]
async fn both_sampling_parameters_go_to_models_that_take_both() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("models.toml");
    let catalogue = include_str!("../../../crates/kijko-core/models.toml").replace("exclusiveSampling = true", "");
    std::fs::write(&path, catalogue).unwrap();
    let bench = Bench::new(&[("MODEL_CATALOGUE", path.to_str().unwrap())]).await;
    let both = json!({ "temperature": 0.5, "top_p": 0.9 });
    let body = bench.body_for("claude-3-5-sonnet-20241022", both).await;
    assert_eq!((&body["temperature"], &body["top_p"]), (&json!(0.5), &json!(0.9)));
}

#[tokio::test]
async fn the_key_is_in_no_reply_and_in_no_row() {
    let bench = Bench::new(&[]).await;
    let mut replies = String::new();
    let echo = format!("x-api-key: {API_KEY}");
    for status in [401, 403, 404, 500, 529] {
        let attempts = if status < 500 { 1 } else { 4 };
        let run = bench.run((0..attempts).map(|_| Reply::error(status, &echo))).await;
        replies += &run.execution.to_string();
    }
    let run = bench.run([Reply::text(&["A sentence to find."], 1, 1)]).await;
    run.completed("A sentence to find.");
    for path in ["/api/v1/executions", "/api/v1/skills", "/api/v1/auth/me", "/health/ready", "/info"] {
        replies += &bench.ada.get(path).await.text;
    }
    let rows = bench.app.everything_stored().await;
    for (place, text) in [("a reply", &replies), ("a row", &rows)] {
        assert!(text.contains("A sentence to find."), "{place} must be searched where the output is");
        assert!(!text.contains(API_KEY), "{place} holds the key of the provider");
    }
}
