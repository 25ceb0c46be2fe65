//! A model that a program serves is a model for everybody on its database: whoever accepts a run, the program answers
//! it, and nobody else; when the program is gone, its runs do not wait for ever.

use std::sync::{Arc, Mutex};

use kijko_core::domain::offered_models::OfferedModel;
use kijko_core::services::programs::{self, Answer, Program, Question};
use kijko_core::services::worker;
use serde_json::{Value, json};

use crate::harness::{Installation, Person, Worker, eventually, skill};

/// A process beside the server that serves models and does nothing else.
struct Beside {
    app: Installation,
    asked: Arc<Mutex<Vec<String>>>,
    worker: Option<Worker>,
}

/// Answers with its own name, and remembers what it was asked.
struct Named(&'static str, Arc<Mutex<Vec<String>>>);

impl Program for Named {
    fn start(&self, question: Question, answer: Answer) {
        self.1.lock().unwrap().push(question.prompt);
        answer.text(format!("{} says", self.0));
        answer.text(" hello".into());
        answer.end();
    }
}

fn model(name: &str) -> OfferedModel {
    OfferedModel {
        name: name.into(),
        input_cost_per_million: 1.into(),
        output_cost_per_million: 2.into(),
        max_output_tokens: 100,
    }
}

impl Beside {
    /// With a key, so that nothing is answered offline, but not with the key that others need.
    async fn new(server: &Installation, models: &[&'static str]) -> Self {
        Self::with(server, &[("GOOGLE_API_KEY", "of-no-use-here")], models).await
    }

    async fn with(server: &Installation, settings: &[(&str, &str)], models: &[&'static str]) -> Self {
        let app = Installation::beside(server, settings).await;
        let mut beside = Self { app, asked: Arc::default(), worker: None };
        for name in models {
            beside.offer(name).await;
        }
        beside.serve();
        beside
    }

    async fn offer(&self, name: &'static str) {
        let program = Arc::new(Named(name, self.asked.clone()));
        programs::offer(&self.app.app, model(name), program).await.expect("the model is offered");
    }

    fn serve(&mut self) {
        let app = self.app.app.clone();
        self.worker = Some(Worker::start(|stop| async move { worker::serve_models(&app, stop).await }));
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    async fn pause(&mut self) {
        self.worker.take().expect("it serves").stop().await;
    }

    async fn stop(mut self) {
        self.pause().await;
    }
}

async fn skill_with(person: &Person, model: &str, more: &Value) -> String {
    let mut body = skill(&format!("With {model}"));
    body["model"] = model.into();
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    person.post("/api/v1/skills", body).await.ok(201)["id"].as_str().expect("an id").to_owned()
}

async fn ended(person: &Person, run: &str) -> Value {
    eventually("the run ends", async || {
        let status = person.execution(run).await["status"].clone();
        status != "pending" && status != "running"
    })
    .await;
    person.execution(run).await
}

#[tokio::test]
async fn a_run_that_any_process_accepts_is_answered_by_the_program_that_serves_its_model() {
    let server = Installation::new().await;
    let ada = server.owner().await;
    let program = Beside::new(&server, &["oracle"]).await;
    let skill = skill_with(&ada, "oracle", &json!({})).await;
    let run = ada.execute(&skill, json!({ "text": "the sea" })).await;
    // An ordinary worker has nothing to do with it.
    server.run_jobs().await;
    let execution = ended(&ada, &run).await;
    assert_eq!((&execution["status"], &execution["output"]), (&json!("completed"), &json!("oracle says hello")));
    assert_eq!(program.asked().len(), 1, "it was asked once");
    assert!(program.asked()[0].contains("the sea"));
    let test =
        ada.post(&format!("/api/v1/skills/{skill}/test"), json!({ "input": { "text": "a river" } })).await.ok(202);
    let path = format!("/api/v1/skills/test/{}", test["executionId"].as_str().expect("an id"));
    eventually("the test ends", async || ada.get(&path).await.ok(200)["status"] == "completed").await;
    assert!(program.asked()[1].contains("a river"), "a test goes the same way");
    program.stop().await;
}

#[tokio::test]
async fn every_program_takes_what_it_serves_also_what_it_began_to_serve_later() {
    let server = Installation::new().await;
    let ada = server.owner().await;
    let (one, two) = (Beside::new(&server, &["one"]).await, Beside::new(&server, &["two"]).await);
    one.offer("three").await;
    for (model, answer) in [("one", "one says hello"), ("two", "two says hello"), ("three", "three says hello")] {
        let skill = skill_with(&ada, model, &json!({})).await;
        for _ in 0..5 {
            let run = ada.execute(&skill, json!({ "text": "x" })).await;
            assert_eq!(ended(&ada, &run).await["output"], answer);
        }
    }
    assert_eq!((one.asked().len(), two.asked().len()), (10, 5), "each was asked for its own");
    let ordinary = ada.create_skill("Ordinary").await;
    let run = ada.execute(&ordinary, json!({ "text": "x" })).await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(ada.execution(&run).await["status"], "pending", "a program that only serves models takes nothing else");
    server.run_jobs().await;
    assert_eq!(ada.execution(&run).await["status"], "completed");
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_run_whose_skill_gets_another_model_while_it_waits_goes_to_whoever_serves_that() {
    let server = Installation::new().await;
    let ada = server.owner().await;
    let mut program = Beside::new(&server, &[]).await;
    program.offer("oracle").await;
    program.pause().await;

    // Nobody works yet. One skill leaves the program for the catalogue, the other one comes to it.
    let leaving = skill_with(&ada, "oracle", &json!({})).await;
    let coming = ada.create_skill("Coming").await;
    let left = ada.execute(&leaving, json!({ "text": "x" })).await;
    let came = ada.execute(&coming, json!({ "text": "x" })).await;
    ada.put(&format!("/api/v1/skills/{leaving}"), json!({ "model": "claude-3-5-haiku-20241022" })).await.ok(200);
    ada.put(&format!("/api/v1/skills/{coming}"), json!({ "model": "oracle" })).await.ok(200);
    server.run_jobs().await;
    assert_eq!(ada.execution(&came).await["status"], "pending", "the server hands it over");

    program.serve();
    assert_eq!(ended(&ada, &came).await["output"], "oracle says hello");
    let waiting = "graphile_worker._private_jobs WHERE flags IS NULL AND locked_at IS NULL";
    eventually("the program hands over what is not its own", async || server.count(waiting).await == 1).await;
    server.run_jobs().await;
    let execution = ada.execution(&left).await;
    assert_eq!(execution["status"], "completed", "{execution}");
    assert!(execution["output"].as_str().unwrap().contains("offline"), "the catalogue's model answered");
    program.stop().await;
}

#[tokio::test]
async fn a_server_and_a_program_with_different_keys_agree_on_who_answers() {
    // The server cannot call the first choice, so the run goes to the program. That one has no key, and would answer
    // offline whatever the catalogue has.
    let server = Installation::with(&[("GOOGLE_API_KEY", "of-no-use-here")]).await;
    let ada = server.owner().await;
    let program = Beside::with(&server, &[], &["oracle"]).await;
    let skill = skill_with(&ada, "claude-3-5-haiku-20241022", &json!({ "fallbackModel": "oracle" })).await;
    let run = ada.execute(&skill, json!({ "text": "x" })).await;
    assert_eq!(ended(&ada, &run).await["output"], "oracle says hello");
    program.stop().await;
}

#[tokio::test]
async fn a_run_that_was_cancelled_is_handed_to_nobody() {
    let server = Installation::new().await;
    let ada = server.owner().await;
    let program = Beside::new(&server, &["oracle"]).await;
    program.stop().await;
    let skill = ada.create_skill("Coming").await;
    let run = ada.execute(&skill, json!({ "text": "x" })).await;
    ada.put(&format!("/api/v1/skills/{skill}"), json!({ "model": "oracle" })).await.ok(200);
    ada.post(&format!("/api/v1/executions/{run}/cancel"), json!({})).await.ok(200);
    server.run_jobs().await;
    assert_eq!(server.count("graphile_worker._private_jobs").await, 0, "there is nothing left to do");
}

#[tokio::test]
async fn two_programs_that_serve_the_same_models_announce_them_at_the_same_time() {
    let server = Installation::new().await;
    let programs = [Beside::new(&server, &["a", "b", "c"]).await, Beside::new(&server, &["c", "b", "a"]).await];
    let offers = (0..20).flat_map(|_| programs.iter().flat_map(|one| ["a", "b", "c"].map(|name| one.offer(name))));
    futures_util::future::join_all(offers).await;
    assert_eq!(server.count("offered_models").await, 3);
    let ada = server.owner().await;
    let skill = skill_with(&ada, "b", &json!({})).await;
    for _ in 0..10 {
        let run = ada.execute(&skill, json!({ "text": "x" })).await;
        assert_eq!(ended(&ada, &run).await["output"], "b says hello");
    }
    let asked: usize = programs.iter().map(|program| program.asked().len()).sum();
    assert_eq!(asked, 10, "each run was one question, to one of them");
    for program in programs {
        program.stop().await;
    }
}

#[tokio::test]
async fn what_waits_for_a_program_that_is_gone_ends_and_nothing_more_is_accepted() {
    let server = Installation::new().await;
    let ada = server.owner().await;
    let program = Beside::new(&server, &["oracle"]).await;
    program.stop().await;
    let lonely = skill_with(&ada, "oracle", &json!({})).await;
    let covered = json!({ "name": "Covered", "fallbackModel": "claude-3-5-haiku-20241022" });
    let covered = skill_with(&ada, "oracle", &covered).await;
    // It may come back, as after an update.
    server.advance(100);
    let runs =
        [ada.execute(&lonely, json!({ "text": "x" })).await, ada.execute(&covered, json!({ "text": "x" })).await];
    server.run_jobs().await;
    for run in &runs {
        assert_eq!(ada.execution(run).await["status"], "pending");
    }
    server.advance(21);
    let refused = ada.post(&format!("/api/v1/skills/{lonely}/execute"), json!({ "input": { "text": "x" } })).await;
    refused.refused(503, "PROVIDER_NOT_CONFIGURED");
    server.run_jobs().await;
    let (lonely, covered) = (ada.execution(&runs[0]).await, ada.execution(&runs[1]).await);
    assert_eq!((&lonely["status"], &lonely["errorCode"]), (&json!("failed"), &json!("PROVIDER_NOT_CONFIGURED")));
    assert_eq!(covered["status"], "completed", "the model that stands in answered: {covered}");
}

#[tokio::test]
async fn models_of_programs_are_listed_while_they_are_known() {
    let server = Installation::new().await;
    let ada = server.owner().await;
    let program = Beside::new(&server, &["oracle"]).await;
    let listed = async || {
        let models = ada.get("/api/v1/skills/models").await.ok(200)["models"].clone();
        models.as_array().unwrap().iter().find(|model| model["id"] == "oracle").cloned()
    };
    let shown = listed().await.expect("it is listed");
    assert_eq!(
        shown,
        json!({
            "id": "oracle", "name": "oracle", "description": "Served by a program of this installation",
            "provider": "program", "aliases": [], "inputCostPerMillion": "1", "outputCostPerMillion": "2",
            "maxOutputTokens": 100, "isDefault": false, "available": true,
        })
    );
    program.stop().await;
    server.advance(121);
    assert_eq!(listed().await.expect("it may come back")["available"], false);
    server.advance(30 * 24 * 3600);
    server.run_jobs().await;
    // The session ended long ago.
    assert_eq!(server.count("offered_models").await, 0, "what nobody serves for a month is forgotten");
}

#[tokio::test]
async fn a_program_takes_no_name_that_is_a_known_model() {
    let server = Installation::new().await;
    for name in ["claude-3-5-haiku-20241022", "gemini-anything", "openai/gpt", ""] {
        let program = Arc::new(Named("x", Arc::default()));
        let refused = programs::offer(&server.app, model(name), program).await.expect_err("the name is refused");
        assert_eq!(refused.code().as_str(), "VALIDATION_ERROR", "{name:?}");
    }
    assert_eq!(server.count("offered_models").await, 0);
}
