//! What a provider does to a run: every way in which it can answer, fail, fall silent or be left alone ends the run
//! exactly as documented, after exactly as many calls as are allowed, and costs what was reported.

use kijko_core::services::worker;
use serde_json::{Value, json};

use crate::harness::provider::{Call, Provider, Reply};
use crate::harness::{Installation, Person, Worker, eventually, skill};

mod calling;
mod dialects;
mod fallback;
mod peer;

/// What an attempt has used when it breaks off after it began; the double always reports this much.
const BEGUN: (u64, u64) = (25, 1);

/// Somebody with a skill, at an installation whose models are those of the double.
struct Bench {
    app: Installation,
    provider: Provider,
    ada: Person,
    skill: String,
}

/// How a run ended, and what it made of the provider.
struct Run {
    execution: Value,
    calls: Vec<Call>,
}

impl Bench {
    async fn new(settings: &[(&str, &str)]) -> Self {
        Self::with_model("claude-3-5-sonnet-20241022", settings).await
    }

    /// With a skill that asks this model; all providers are those of the double.
    async fn with_model(model: &str, settings: &[(&str, &str)]) -> Self {
        let (app, provider) = Installation::with_provider(settings).await;
        let ada = app.owner().await;
        let mut body = skill("Summary");
        body["model"] = model.into();
        let created = ada.post("/api/v1/skills", body).await.ok(201);
        let skill = created["id"].as_str().expect("an id").to_owned();
        Self { app, provider, ada, skill }
    }

    /// One run from the request to the end, answered by these replies and by no other.
    async fn run(&self, replies: impl IntoIterator<Item = Reply>) -> Run {
        self.run_skill(&self.skill, replies).await
    }

    async fn run_skill(&self, skill: &str, replies: impl IntoIterator<Item = Reply>) -> Run {
        let before = self.provider.call_count();
        for reply in replies {
            self.provider.script(reply);
        }
        let id = self.ada.execute(skill, json!({ "text": "x" })).await;
        self.app.run_jobs().await;
        let calls = self.provider.calls().split_off(before);
        let execution = self.ada.execution(&id).await;
        let attempts = format!("skill_executions WHERE id = '{id}' AND attempts = {}", calls.len());
        assert_eq!(self.app.count(&attempts).await, 1, "the row tells the number of calls, {}", calls.len());
        Run { execution, calls }
    }

    /// The body of the request that a skill with these parameters makes.
    async fn body_for(&self, model: &str, parameters: Value) -> Value {
        let mut body = skill(&format!("Skill {}", self.provider.call_count()));
        body["model"] = model.into();
        body["parameters"] = parameters;
        let created = self.ada.post("/api/v1/skills", body).await.ok(201);
        let run = self.run_skill(created["id"].as_str().unwrap(), [Reply::text(&["ok"], 1, 1)]).await;
        run.completed("ok");
        run.calls[0].body.clone()
    }

    /// A worker as in a server, until it is stopped.
    fn worker(&self) -> Worker {
        let app = self.app.app.clone();
        Worker::start(|stop| async move { worker::run(&app, stop).await })
    }

    /// Starts a run whose second attempt never ends, after a first one that reported its tokens.
    async fn run_that_hangs(&self) -> String {
        self.provider.script(Reply::error_event("api_error", "passing", &[])).script(Reply::hang());
        let id = self.ada.execute(&self.skill, json!({ "text": "x" })).await;
        self.provider.wait_for_calls(2).await;
        assert_eq!(self.ada.execution(&id).await["status"], "running");
        id
    }

    /// Waits for the tokens of a run that was ended by somebody else than its worker.
    async fn tokens_arrive(&self, id: &str) {
        let what = "the worker notes down what the call had used";
        eventually(what, async || self.ada.execution(id).await.get("tokensUsed").is_some()).await;
        let execution = self.ada.execution(id).await;
        assert_eq!((&execution["promptTokens"], &execution["completionTokens"]), (&json!(25), &json!(1)));
        assert_eq!(execution["costCents"], 0, "25 and 1 token are costed, at less than half a cent");
        // 25 tokens at 3 and 1 token at 15 dollars per million.
        let exact = format!("skill_executions WHERE id = '{id}' AND cost_usd = 0.00009 AND attempts = 2");
        assert_eq!(self.app.count(&exact).await, 1);
    }
}

impl Run {
    #[track_caller]
    fn completed(&self, output: &str) {
        let execution = &self.execution;
        assert_eq!((&execution["status"], &execution["output"]), (&json!("completed"), &json!(output)), "{execution}");
        assert!(execution.get("errorCode").is_none() && execution.get("errorMessage").is_none(), "{execution}");
    }

    /// After this many calls; gives the message.
    #[track_caller]
    fn failed(&self, code: &str, calls: usize) -> &str {
        let execution = &self.execution;
        assert_eq!((&execution["status"], &execution["errorCode"]), (&json!("failed"), &json!(code)), "{execution}");
        assert_eq!(self.calls.len(), calls, "the wrong number of calls was made: {execution}");
        assert!(execution.get("output").is_none(), "partial text is not stored: {execution}");
        execution["errorMessage"].as_str().expect("a failure is explained")
    }

    #[track_caller]
    fn used(&self, (prompt, completion): (u64, u64)) {
        let execution = &self.execution;
        let tokens = ["promptTokens", "completionTokens", "tokensUsed"].map(|member| execution[member].as_u64());
        assert_eq!(tokens, [Some(prompt), Some(completion), Some(prompt + completion)], "{execution}");
        assert!(execution["costCents"].is_u64(), "what is reported is costed: {execution}");
    }

    #[track_caller]
    fn used_nothing(&self) {
        for member in ["tokensUsed", "promptTokens", "completionTokens", "costCents"] {
            assert!(self.execution.get(member).is_none(), "nothing was reported, so {member} is unknown");
        }
    }
}
