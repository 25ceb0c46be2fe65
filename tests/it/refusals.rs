//! What is refused over HTTP, case by case. The Python package refuses the same cases with the same codes
//! (`tests/python/test_refusals.py` reads the same table).

use axum::http::Method;
use serde_json::{Value, json};

use crate::harness::{Installation, Person, skill};

const CASES: &str = include_str!("../cases/refusals.json");

/// `$501` stands for a text of so many characters.
fn written_out(body: &Value) -> Value {
    match body {
        Value::String(text) => match text.strip_prefix('$').and_then(|length| length.parse().ok()) {
            Some(length) => "x".repeat(length).into(),
            None => body.clone(),
        },
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), written_out(value))).collect(),
        _ => body.clone(),
    }
}

fn request(call: &str, target: &str) -> (Method, String) {
    match call {
        "skills.create" => (Method::POST, "/api/v1/skills".into()),
        "skills.get" => (Method::GET, format!("/api/v1/skills/{target}")),
        "skills.update" => (Method::PUT, format!("/api/v1/skills/{target}")),
        "skills.delete" => (Method::DELETE, format!("/api/v1/skills/{target}")),
        "skills.execute" => (Method::POST, format!("/api/v1/skills/{target}/execute")),
        "executions.get" => (Method::GET, format!("/api/v1/executions/{target}")),
        "executions.cancel" => (Method::POST, format!("/api/v1/executions/{target}/cancel")),
        other => panic!("no route is known for the call {other:?}: add it here"),
    }
}

async fn create(ada: &Person, name: &str, more: Value) -> String {
    let mut body = skill(name);
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    ada.post("/api/v1/skills", body).await.ok(201)["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn every_case_of_the_table_is_refused_with_its_code_and_fields() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let schema = json!([{ "name": "text", "type": "string", "required": true }]);
    let taken = create(&ada, "Taken", json!({ "inputSchema": schema })).await;
    let asleep = create(&ada, "Asleep", json!({ "isActive": false })).await;
    let unserved = create(&ada, "Unserved", json!({ "model": "nobody-has-this" })).await;
    let cases: Vec<Value> = serde_json::from_str(CASES).expect("the table is JSON");
    for case in &cases {
        let target = match case["target"].as_str().unwrap_or_default() {
            "taken" => &taken,
            "asleep" => &asleep,
            "unserved" => &unserved,
            other => other,
        };
        let (method, path) = request(case["call"].as_str().expect("a call"), target);
        let reply = ada.call(method, &path, case.get("body").map(written_out)).await;
        let fields: Vec<&str> = match &reply.body["details"]["errors"] {
            Value::Array(errors) => errors.iter().filter_map(|error| error["field"].as_str()).collect(),
            _ => reply.body["field"].as_str().into_iter().collect(),
        };
        let expected: Vec<&str> = case["fields"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert_eq!((&reply.body["code"], fields), (&case["code"], expected), "{}: {}", case["about"], reply.text);
    }
    assert_eq!(app.count("skills").await, 3, "what is refused changes nothing");
    assert_eq!(app.count("skill_executions").await, 0, "what is refused starts nothing");
}
