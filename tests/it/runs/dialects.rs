//! Google, everybody who speaks OpenAI's API, and Azure: what each of them can answer becomes the same kinds of endings
//! as with Anthropic, after as many calls, at the cost that they report.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Bench, Run};
use crate::harness::provider::{Call, Provider, Reply, google, openai};
use crate::harness::{Installation, skill};

type Usage = (u64, u64);

/// How a provider says what all of them can say.
struct Dialect {
    name: &'static str,
    model: &'static str,
    /// What is really called.
    called: &'static str,
    text: fn(&[&str], u64, u64) -> Reply,
    begun: fn(&[&str]) -> Reply,
    error: fn(u16, &str) -> Reply,
    error_event: fn(u16, &str, &[&str]) -> Reply,
    malformed: fn() -> Reply,
    /// What an attempt has reported when it breaks off: one tells it in every event, the others in the last.
    used_when_begun: Option<Usage>,
}

const GOOGLE: Dialect = Dialect {
    name: "google",
    model: "gemini-3-flash-preview",
    called: "gemini-3-flash-preview",
    text: google::text,
    begun: google::begun,
    error: google::error,
    error_event: google::error_event,
    malformed: google::malformed,
    used_when_begun: Some((25, 1)),
};

const COMPATIBLE: Dialect = Dialect {
    name: "openai",
    model: "openai/llama3.1:8b",
    called: "llama3.1:8b",
    text: openai::text,
    begun: openai::begun,
    error: openai::error,
    error_event: openai::error_event,
    malformed: openai::malformed,
    used_when_begun: None,
};

const AZURE: Dialect = Dialect { model: "gpt-4o", called: "gpt-4o", ..COMPATIBLE };

const ALL: [&Dialect; 3] = [&GOOGLE, &COMPATIBLE, &AZURE];

impl Dialect {
    fn settings(&self, url: &str) -> Vec<(&'static str, String)> {
        match self.called {
            "gpt-4o" => vec![
                ("OPENAI_API_KEY", openai::KEY.into()),
                ("OPENAI_BASE_URL", format!("{url}/azure")),
                ("OPENAI_API_VERSION", openai::AZURE_VERSION.into()),
            ],
            "llama3.1:8b" => {
                vec![("OPENAI_API_KEY", openai::KEY.into()), ("OPENAI_BASE_URL", format!("{url}/compatible/v1/"))]
            }
            _ => vec![("GOOGLE_API_KEY", google::KEY.into()), ("GOOGLE_BASE_URL", url.to_owned())],
        }
    }

    async fn bench(&self, more: &[(&str, &str)]) -> Bench {
        let provider = Provider::start().await;
        let own = self.settings(provider.url());
        let mut settings: Vec<_> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
        settings.extend_from_slice(more);
        let app = Installation::with(&settings).await;
        let ada = app.owner().await;
        let mut body = skill("Summary");
        body["model"] = self.model.into();
        let created = ada.post("/api/v1/skills", body).await.ok(201);
        let skill = created["id"].as_str().expect("an id").to_owned();
        Bench { app, provider, ada, skill }
    }

    fn used(&self, run: &Run, last: Usage) {
        let (prompt, completion) = self.used_when_begun.unwrap_or_default();
        run.used((prompt + last.0, completion + last.1));
    }

    fn used_only_what_was_begun(&self, run: &Run) {
        match self.used_when_begun {
            Some(usage) => run.used(usage),
            None => run.used_nothing(),
        }
    }
}

#[tokio::test]
async fn streamed_text_arrives_whole_however_it_is_cut() {
    for dialect in ALL {
        let bench = dialect.bench(&[]).await;
        let reply = (dialect.text)(&["Héllo", ", ", "wörld ", "🦀."], 12, 34);
        for reply in [reply.clone(), reply.clone().in_chunks_of(1), reply.clone().in_chunks_of(7), reply.with_crlf()] {
            let run = bench.run([reply]).await;
            run.completed("Héllo, wörld 🦀.");
            run.used((12, 34));
            assert_eq!(run.calls[0].prompt(), "Summarise in one line: x");
        }
        let called = format!(
            "skill_executions WHERE provider = '{}' AND model = '{}' AND cost_usd > 0",
            dialect.name, dialect.called
        );
        assert_eq!(bench.app.count(&called).await, 4, "the row tells who answered");
    }
}

#[tokio::test]
async fn a_passing_failure_is_retried_and_the_last_error_is_told() {
    for dialect in ALL {
        let bench = dialect.bench(&[]).await;
        for status in [429, 500, 502, 503, 504, 529] {
            let run = bench.run([(dialect.error)(status, "wait"), (dialect.text)(&["ok"], 10, 5)]).await;
            run.completed("ok");
            run.used((10, 5));
            assert_eq!(run.calls.len(), 2, "{status} is tried again, once is enough");
        }
        for (status, code) in [(429, "RATE_LIMITED"), (500, "API_ERROR"), (503, "SERVICE_UNAVAILABLE")] {
            let run = bench.run((0..4).map(|_| (dialect.error)(status, "their words"))).await;
            let message = run.failed(code, 4);
            assert!(!message.contains("their words"), "{message}");
            run.used_nothing();
        }
    }
}

#[tokio::test]
async fn what_cannot_get_better_is_not_retried() {
    for dialect in ALL {
        let bench = dialect.bench(&[]).await;
        let words = "their words, and the account of org-4711";
        for (status, code) in [
            (400, "BAD_REQUEST"),
            (401, "INVALID_API_KEY"),
            (403, "API_ERROR"),
            (404, "MODEL_NOT_SUPPORTED"),
            (413, "API_ERROR"),
            (418, "API_ERROR"),
        ] {
            let run = bench.run([(dialect.error)(status, words)]).await;
            let message = run.failed(code, 1);
            assert_eq!(message == words, status == 400, "only the message of a 400 is passed on: {message}");
            assert!(status == 400 || !message.contains("4711"), "{message}");
            run.used_nothing();
        }
        let run = bench.run([(dialect.error)(400, &"é".repeat(3000))]).await;
        assert!(run.failed("BAD_REQUEST", 1).chars().count() <= 500, "a long message is shortened");
        let run = bench.run([Reply::status(400, "<html>not theirs</html>")]).await;
        assert!(!run.failed("BAD_REQUEST", 1).contains("html"), "what is not in their form is not passed on");
        let run = bench.run([Reply::status(400, &format!("{{\"error\": {}", "[".repeat(200_000)))]).await;
        run.failed("BAD_REQUEST", 1);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_retried_only_before_the_first_text() {
    for dialect in ALL {
        let bench = dialect.bench(&[]).await;
        let run = bench.run([Reply::cut_before_head(), (dialect.text)(&["ok"], 10, 5)]).await;
        run.completed("ok");
        run.used((10, 5));
        for reply in [(dialect.begun)(&[]), (dialect.begun)(&[]).cut()] {
            let run = bench.run([reply, (dialect.text)(&["ok"], 10, 5)]).await;
            run.completed("ok");
            dialect.used(&run, (10, 5));
            assert_eq!(run.calls.len(), 2);
        }
        for reply in [(dialect.begun)(&["Once "]), (dialect.begun)(&["Once "]).cut()] {
            let run = bench.run([reply]).await;
            run.failed("PROVIDER_UNREACHABLE", 1);
            dialect.used_only_what_was_begun(&run);
        }
    }
}

#[tokio::test]
async fn silence_counts_as_a_broken_connection_and_slowness_does_not() {
    for dialect in ALL {
        let bench = dialect.bench(&[("MODEL_INACTIVITY_TIMEOUT_SECS", "1")]).await;
        let slow = (dialect.text)(&["a"; 5], 1, 1).paced(Duration::from_millis(250));
        bench.run([Reply::hang(), slow]).await.completed("aaaaa");
        let run = bench.run([(dialect.begun)(&["Once "]).silent()]).await;
        run.failed("PROVIDER_UNREACHABLE", 1);
        let calls = bench.provider.wait_until_idle().await;
        let silent = calls.last().expect("the last call");
        assert!(silent.left_at().is_some(), "the silent connection is closed: {:?}", silent.ending);
    }
}

#[tokio::test]
async fn an_error_within_the_stream_counts_like_its_status() {
    for dialect in ALL {
        let bench = dialect.bench(&[]).await;
        for status in [429, 500, 503] {
            let run = bench.run([(dialect.error_event)(status, "wait", &[]), (dialect.text)(&["ok"], 10, 5)]).await;
            run.completed("ok");
            dialect.used(&run, (10, 5));
        }
        let run = bench.run([(dialect.error_event)(503, "wait", &["Once "])]).await;
        run.failed("SERVICE_UNAVAILABLE", 1);
        let run = bench.run([(dialect.error_event)(400, "too long", &[])]).await;
        assert_eq!(run.failed("BAD_REQUEST", 1), "too long");
        bench.run([(dialect.malformed)()]).await.failed("API_ERROR", 1);
        let endless = [b"data: ".to_vec(), vec![b'x'; 2 << 20]];
        bench.run([Reply::raw(endless)]).await.failed("API_ERROR", 1);
    }
}

#[tokio::test]
async fn the_provider_may_ask_for_a_wait_by_a_date() {
    for dialect in ALL {
        let bench = dialect.bench(&[]).await;
        let date = |seconds| {
            let at = bench.app.now() + chrono::TimeDelta::seconds(seconds);
            at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
        };
        let run = bench.run([(dialect.error)(429, "wait").retry_after(date(2)), (dialect.text)(&["ok"], 1, 1)]).await;
        run.completed("ok");
        let waited = run.calls[1].received_at - run.calls[0].received_at;
        assert!(waited >= Duration::from_secs(1), "a date in Retry-After is honoured, not only seconds: {waited:?}");
        let started = Instant::now();
        bench.run([(dialect.error)(503, "wait").retry_after(date(90))]).await.failed("SERVICE_UNAVAILABLE", 1);
        assert!(started.elapsed() < Duration::from_secs(10), "a longer wait than a minute fails the run at once");
    }
}

#[tokio::test]
async fn the_request_says_what_the_skill_allows_in_the_words_of_the_provider() {
    let all = json!({ "max_tokens": 100, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop_sequences": ["END"] });
    let google = body_for(&GOOGLE, all.clone()).await;
    let settings = json!({ "temperature": 0.5, "maxOutputTokens": 100, "topP": 0.9, "topK": 40,
        "stopSequences": ["END"] });
    assert_eq!(google.body["generationConfig"], settings);
    assert_eq!(google.path, "/v1beta/models/gemini-3-flash-preview:streamGenerateContent?alt=sse");
    assert_eq!(google.header("x-goog-api-key"), Some(google::KEY), "the key is in a header, not in the address");

    let messages = json!([{ "role": "user", "content": "Summarise in one line: x" }]);
    let expected = |model: &str, limit: &str| {
        json!({ "model": model, "messages": messages.clone(), "stream": true, limit: 100, "temperature": 0.5,
            "stream_options": { "include_usage": true }, "top_p": 0.9, "stop": ["END"] })
    };
    let compatible = body_for(&COMPATIBLE, all.clone()).await;
    assert_eq!(compatible.body, expected("llama3.1:8b", "max_tokens"), "top_k is none of theirs");
    assert_eq!(compatible.path, "/compatible/v1/chat/completions");
    assert_eq!(compatible.header("authorization"), Some(format!("Bearer {}", openai::KEY).as_str()));
    let azure = body_for(&AZURE, all).await;
    assert_eq!(azure.body, expected("gpt-4o", "max_completion_tokens"));
    let path = format!("/azure/openai/deployments/gpt-4o/chat/completions?api-version={}", openai::AZURE_VERSION);
    assert_eq!((azure.path.as_str(), azure.header("api-key")), (path.as_str(), Some(openai::KEY)));
}

async fn body_for(dialect: &Dialect, parameters: Value) -> Call {
    let bench = dialect.bench(&[]).await;
    let path = format!("/api/v1/skills/{}", bench.skill);
    bench.ada.put(&path, json!({ "parameters": parameters })).await.ok(200);
    let run = bench.run([(dialect.text)(&["ok"], 1, 1)]).await;
    run.completed("ok");
    run.calls[0].clone()
}

#[tokio::test]
async fn google_thinks_without_telling_and_is_paid_for_it() {
    let bench = GOOGLE.bench(&[]).await;
    let run = bench.run([google::thinking("First I would", "Forty-two.", 10, 5, 7)]).await;
    run.completed("Forty-two.");
    run.used((10, 12));
}

#[tokio::test]
async fn what_googles_filters_block_is_a_failure_only_without_text() {
    let bench = GOOGLE.bench(&[]).await;
    let usage = json!({ "promptTokenCount": 30, "candidatesTokenCount": 0 });
    for reason in ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII"] {
        let run = bench.run([google::ended(&[], reason, usage.clone())]).await;
        run.failed("CONTENT_BLOCKED", 1);
        run.used((30, 0));
    }
    let run = bench.run([google::blocked_prompt(30)]).await;
    run.failed("CONTENT_BLOCKED", 1);
    run.used((30, 0));
    bench.run([google::ended(&["Once"], "SAFETY", usage.clone())]).await.completed("Once");
    bench.run([google::ended(&["Once"], "MAX_TOKENS", usage.clone())]).await.completed("Once");
    bench.run([google::ended(&[], "STOP", usage)]).await.completed("");
}

#[tokio::test]
async fn a_bad_key_at_google_is_not_told_as_a_bad_request() {
    let bench = GOOGLE.bench(&[("GOOGLE_API_KEY", "AIzaNotTheirs")]).await;
    let run = bench.run([]).await;
    assert!(!run.failed("INVALID_API_KEY", 1).contains("API key"), "it is not the caller's doing");
}

#[tokio::test]
async fn a_refusal_in_openais_words_is_a_failure_only_without_text() {
    for dialect in [&COMPATIBLE, &AZURE] {
        let bench = dialect.bench(&[]).await;
        let run = bench.run([openai::refusal("I cannot help with that")]).await;
        run.failed("CONTENT_BLOCKED", 1);
        run.used((30, 2));
        bench.run([openai::ended(&[], "content_filter", Some((3, 0)))]).await.failed("CONTENT_BLOCKED", 1);
        bench.run([openai::blocked_prompt()]).await.failed("CONTENT_BLOCKED", 1);
        bench.run([openai::ended(&["Once"], "content_filter", Some((3, 1)))]).await.completed("Once");
        bench.run([openai::ended(&["Once"], "length", Some((3, 1)))]).await.completed("Once");
        let run = bench.run([openai::filtered(openai::text(&["Once"], 3, 1))]).await;
        run.completed("Once");
        run.used((3, 1));
    }
}

#[tokio::test]
async fn a_server_may_leave_out_the_usage_and_the_last_mark() {
    let bench = COMPATIBLE.bench(&[]).await;
    let run = bench.run([openai::ended(&["ok"], "stop", None)]).await;
    run.completed("ok");
    run.used_nothing();
    let run = bench.run([openai::without_done(openai::text(&["ok"], 10, 5))]).await;
    run.completed("ok");
    run.used((10, 5));
}

#[tokio::test]
async fn no_key_is_in_a_reply_or_a_row() {
    for dialect in ALL {
        let bench = dialect.bench(&[]).await;
        let echo = format!("{} {}", google::KEY, openai::KEY);
        let mut replies = String::new();
        for status in [401, 403, 500] {
            let attempts = if status < 500 { 1 } else { 4 };
            replies += &bench.run((0..attempts).map(|_| (dialect.error)(status, &echo))).await.execution.to_string();
        }
        let rows = bench.app.everything_stored().await;
        for key in [google::KEY, openai::KEY] {
            assert!(!replies.contains(key) && !rows.contains(key), "{}: a key got out", dialect.name);
        }
    }
}
