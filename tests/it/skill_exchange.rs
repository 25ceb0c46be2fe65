//! A skill leaves as a file and comes back as the same skill; a file from a stranger is refused by name or taken whole.

use axum::body::Body;
use axum::http::Request;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Installation, skill};

const IMPORT: &str = "/api/v1/skills/import";

fn file(skill: Value) -> Value {
    json!({ "skill": skill, "version": "1.0" })
}

#[tokio::test]
async fn a_skill_survives_the_way_out_and_in() {
    let app = Installation::new().await;
    let (ada, eve) = (app.owner().await, app.stranger().await);
    let written = json!({
        "name": "Review", "description": "Reads code", "category": "analysis", "model": "gpt-4",
        "promptTemplate": "Review this {{language}} code: {{code}}\n\"quoted\" \u{1f600}",
        "parameters": { "temperature": 0.3, "max_tokens": 100, "stop_sequences": ["END"] },
        "inputSchema": [{ "name": "code", "type": "object", "required": true, "default": { "b": 1, "a": [null] } }],
        "outputFormat": "code", "isActive": false,
    });
    let created = ada.post("/api/v1/skills", written.clone()).await.ok(201);
    let export = format!("/api/v1/skills/{}/export", created["id"].as_str().unwrap());
    let exported = ada.get(&export).await.ok(200);
    assert_eq!(exported, json!({ "skill": written, "version": "1.0" }), "what was written, and nothing else");
    let imported = eve.post(IMPORT, exported.clone()).await;
    assert_eq!(imported.header("etag"), Some("\"1\""));
    let location = imported.header("location").unwrap().to_owned();
    let imported = imported.ok(201);
    assert_eq!(imported["userId"], eve.user_id());
    assert_eq!(eve.get(&format!("{location}/export")).await.ok(200), exported);

    let plain = ada.create_skill("Plain").await;
    let exported = ada.get(&format!("/api/v1/skills/{plain}/export")).await.ok(200);
    assert!(exported["skill"].get("description").is_none() && exported["skill"].get("inputSchema").is_none());
    eve.get(&export).await.refused(404, "SKILL_NOT_FOUND");
    ada.get("/api/v1/skills/nonsense/export").await.refused(404, "SKILL_NOT_FOUND");
}

#[tokio::test]
async fn a_file_takes_the_defaults_of_a_new_skill_and_brings_nothing_along() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let mut written = skill("Summary");
    for (member, value) in [
        ("id", json!("11111111-1111-4111-8111-111111111111")),
        ("userId", json!("x")),
        ("executionCount", json!(99)),
        ("starCount", json!(99)),
        ("rating", json!(5)),
        ("isPublic", json!(true)),
        ("version", json!(7)),
        ("revision", json!(7)),
        ("createdAt", json!("2000-01-01T00:00:00Z")),
    ] {
        written[member] = value;
    }
    let imported = ada.post(IMPORT, file(written)).await.ok(201);
    let mut plain = ada.post("/api/v1/skills", skill("Plain")).await.ok(201);
    for member in ["id", "name", "createdAt", "updatedAt"] {
        plain[member] = imported[member].clone();
    }
    assert_eq!(imported, plain, "as if it had been created");
    assert_ne!(imported["id"], "11111111-1111-4111-8111-111111111111");
}

#[tokio::test]
async fn hostile_files_are_refused_and_leave_nothing() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let with = |member: &str, value: Value| {
        let mut skill = skill("A");
        skill[member] = value;
        file(skill)
    };
    for version in ["2.0", "1", "", "1.0 ", "\u{0}"] {
        let refused = ada.post(IMPORT, json!({ "skill": {}, "version": version })).await;
        refused.refused_field(422, "UNSUPPORTED_VERSION", "version");
    }
    let deep = (0..40).fold(json!("x"), |inner, _| json!([inner]));
    let field = |default: Value| json!([{ "name": "a", "type": "array", "default": default }]);
    for (body, member) in [
        (json!({ "skill": skill("A") }), "version"),
        (json!({ "version": "1.0" }), "skill"),
        (json!({ "skill": skill("A"), "version": 1.0 }), "version"),
        (json!({ "skill": [], "version": "1.0" }), "skill"),
        (json!({ "skill": null, "version": "1.0" }), "skill"),
        (json!({ "skill": "x", "version": "1.0" }), "skill"),
        (file(json!({})), "skill.name"),
        (file(json!({ "name": "A" })), "skill.promptTemplate"),
        (with("name", json!(["A"])), "skill.name"),
        (with("name", json!("<script>")), "skill.name"),
        (with("name", json!("A\u{0}")), "skill.name"),
        (with("promptTemplate", json!("short")), "skill.promptTemplate"),
        (with("promptTemplate", json!("x".repeat(10_001))), "skill.promptTemplate"),
        (with("category", json!("evil")), "skill.category"),
        (with("isActive", json!("yes")), "skill.isActive"),
        (with("parameters", json!({ "temperature": 9 })), "skill.parameters.temperature"),
        (with("parameters", json!({ "temperature": "hot" })), "skill.parameters.temperature"),
        (with("inputSchema", json!([{ "name": "a", "type": "date" }])), "skill.inputSchema[0].type"),
        (with("inputSchema", json!({})), "skill.inputSchema"),
        (with("inputSchema", field(deep)), "skill.inputSchema[0].default"),
        (with("inputSchema", field(json!(["\u{0}"]))), "skill.inputSchema[0].default"),
    ] {
        ada.post(IMPORT, body).await.refused_field(422, "VALIDATION_ERROR", member);
    }
    let raw = async |body: String| {
        let request = Request::builder().method("POST").uri(IMPORT).header("content-type", "application/json");
        ada.send(request.body(Body::from(body)).unwrap()).await
    };
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bomb = format!(r#"{{"version":"1.0","skill":{{"name":"A","inputSchema":{nested}}}}}"#);
    raw(bomb).await.refused(400, "INVALID_JSON");
    raw(format!(r#"{{"version":"1.0","skill":{{"name":"{}"}}}}"#, "x".repeat(10 << 20)))
        .await
        .refused(413, "PAYLOAD_TOO_LARGE");
    raw("{\"version\":\"1.0\",".to_owned()).await.refused(400, "INVALID_JSON");
    assert_eq!(app.count("skills").await, 0, "nothing of it was stored");
}

#[tokio::test]
async fn a_taken_name_is_numbered_a_hundred_times() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let long = format!("{} y", "x".repeat(98));
    for name in ["Summary", long.as_str()] {
        ada.create_skill(name).await;
        let mut names = Vec::new();
        for n in 1..=100 {
            let sent = if n % 2 == 0 { name.to_uppercase() } else { name.to_owned() };
            let imported = ada.post(IMPORT, file(skill(&sent))).await.ok(201);
            names.push(imported["name"].as_str().unwrap().to_owned());
        }
        for (n, given) in (1..).zip(&names) {
            assert!(given.ends_with(&format!(" ({n})")), "the {n}th is called {given:?}");
            assert!(given.chars().count() <= 100);
        }
    }
}

#[tokio::test]
async fn parallel_imports_of_one_name_all_get_one_of_their_own() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let imports = join_all((0..40).map(|_| ada.post(IMPORT, file(skill("Summary")))));
    // Somebody who creates by hand in the same moment may be refused; who imports never is.
    let by_hand = join_all((0..10).map(|n| ada.post("/api/v1/skills", skill(&format!("Summary ({n})")))));
    let (imported, by_hand) = tokio::join!(imports, by_hand);
    for reply in imported {
        reply.ok(201);
    }
    let created = by_hand.into_iter().filter(|reply| reply.status == 201).count();
    assert_eq!(app.count("skills").await, 40 + i64::try_from(created).unwrap());
}

#[tokio::test]
async fn a_file_that_is_imported_twice_with_one_key_is_one_skill() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let imports = (0..8).map(|_| ada.post_once(IMPORT, "file", file(skill("Summary"))));
    let replies: Vec<Value> = join_all(imports).await.into_iter().map(|reply| reply.ok(201)).collect();
    assert!(replies.iter().all(|reply| reply == &replies[0]));
    ada.post_once(IMPORT, "file", file(skill("Other"))).await.refused(409, "IDEMPOTENCY_CONFLICT");
    assert_eq!(app.count("skills").await, 1);
}
