//! Whatever is sent, the answer is a problem that names the field and the rule, and nothing changes.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use crate::harness::Installation;

#[tokio::test]
async fn bad_bodies_are_refused_with_the_field_and_change_nothing() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let good = || crate::harness::skill("Good");
    let with = |member: &str, value: Value| {
        let mut body = good();
        body[member] = value;
        body
    };
    let table: Vec<(Value, &str)> = vec![
        (json!({ "promptTemplate": "Summarise in one line: {{text}}" }), "name"),
        (json!({ "name": "x" }), "promptTemplate"),
        (json!([]), "body"),
        (json!("text"), "body"),
        (with("name", json!(5)), "name"),
        (with("name", json!(null)), "name"),
        (with("name", json!("")), "name"),
        (with("name", json!("x".repeat(101))), "name"),
        (with("name", json!("né")), "name"),
        (with("name", json!("a\u{0}b")), "name"),
        (with("description", json!("x".repeat(501))), "description"),
        (with("description", json!("\u{0}")), "description"),
        (with("promptTemplate", json!("too short")), "promptTemplate"),
        (with("promptTemplate", json!("x".repeat(10_001))), "promptTemplate"),
        (with("category", json!("unknown")), "category"),
        (with("category", json!(7)), "category"),
        (with("outputFormat", json!("pdf")), "outputFormat"),
        (with("model", json!("")), "model"),
        (with("isActive", json!("yes")), "isActive"),
        (with("parameters", json!([1])), "parameters"),
        (with("parameters", json!({ "temperature": "hot" })), "parameters.temperature"),
        (with("parameters", json!({ "temperature": -0.1 })), "parameters.temperature"),
        (with("parameters", json!({ "max_tokens": 8193 })), "parameters.max_tokens"),
        (with("parameters", json!({ "max_tokens": 1.5 })), "parameters.max_tokens"),
        (with("parameters", json!({ "max_tokens": -1 })), "parameters.max_tokens"),
        (with("parameters", json!({ "stop_sequences": [""] })), "parameters.stop_sequences[0]"),
        (with("inputSchema", json!([{ "name": "a" }])), "inputSchema[0].type"),
        (with("inputSchema", json!([{ "name": "a", "type": "date" }])), "inputSchema[0].type"),
        (with("inputSchema", json!([{ "name": "a b", "type": "string" }])), "inputSchema[0].name"),
        (with("inputSchema", json!([{ "name": "a", "type": "number", "default": "x" }])), "inputSchema[0].default"),
        (with("prompt_template", json!("Another text for the template")), "promptTemplate"),
    ];
    for (body, field) in table {
        let text = body.to_string();
        let reply = ada.post("/api/v1/skills", body).await;
        assert_eq!(reply.body["field"], field, "for {}: {}", &text[..text.len().min(120)], reply.text);
        let problem = reply.refused(422, "VALIDATION_ERROR");
        let first = &problem["details"]["errors"][0];
        assert_eq!(first["field"], field);
        assert!(first["message"].is_string() && first["code"].is_string(), "{problem}");
    }
    assert_eq!(app.count("skills").await, 0);
}

#[tokio::test]
async fn all_mistakes_are_told_at_once() {
    let app = Installation::new().await;
    let body = json!({ "name": "", "promptTemplate": "x", "model": "", "parameters": { "top_k": 0 } });
    let problem = app.owner().await.post("/api/v1/skills", body).await.refused(422, "VALIDATION_ERROR");
    let fields: Vec<_> = problem["details"]["errors"].as_array().unwrap().iter().map(|e| e["field"].clone()).collect();
    assert_eq!(fields, ["name", "promptTemplate", "model", "parameters.top_k"]);
}

fn request(method: Method, path: &str, content_type: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let builder = Request::builder().method(method).uri(path);
    let builder = match content_type {
        Some(content_type) => builder.header("content-type", content_type),
        None => builder,
    };
    builder.body(body.into()).expect("a valid request")
}

#[tokio::test]
async fn bodies_that_are_not_json_objects_are_refused_by_their_kind() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let send = async |content_type: Option<&'static str>, body: Vec<u8>| {
        ada.send(request(Method::POST, "/api/v1/skills", content_type, body)).await
    };
    let json = Some("application/json");
    send(json, b"{ not json".to_vec()).await.refused(400, "INVALID_JSON");
    send(json, b"".to_vec()).await.refused(400, "INVALID_JSON");
    send(json, b"{\"name\": \"\xff\"}".to_vec()).await.refused(400, "INVALID_JSON");
    send(json, b"{} {}".to_vec()).await.refused(422, "VALIDATION_ERROR");
    let deep = format!("{{\"inputSchema\": [{{\"default\": {}{}}}]}}", "[".repeat(5000), "]".repeat(5000));
    send(json, deep.into_bytes()).await.refused(400, "INVALID_JSON");
    send(json, vec![b' '; (1 << 20) + 1]).await.refused(413, "PAYLOAD_TOO_LARGE");
    let good = crate::harness::skill("Good").to_string().into_bytes();
    send(None, good.clone()).await.refused(415, "UNSUPPORTED_MEDIA_TYPE");
    send(Some("text/plain"), good.clone()).await.refused(415, "UNSUPPORTED_MEDIA_TYPE");
    send(Some("application/x-www-form-urlencoded"), good.clone()).await.refused(415, "UNSUPPORTED_MEDIA_TYPE");
    assert_eq!(app.count("skills").await, 0);
    send(Some("application/json; charset=utf-8"), good).await.ok(201);
}

#[tokio::test]
async fn a_body_that_only_claims_to_be_small_is_cut_off() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 65_536]));
    let body = Body::from_stream(futures_util::StreamExt::take(endless, 100));
    ada.send(request(Method::POST, "/api/v1/skills", Some("application/json"), body))
        .await
        .refused(413, "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn queries_out_of_range_are_refused_with_the_field() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    for (path, field) in [
        ("/api/v1/skills?page=0", "page"),
        ("/api/v1/skills?page=-1", "page"),
        ("/api/v1/skills?page=abc", "page"),
        ("/api/v1/skills?pageSize=101", "pageSize"),
        ("/api/v1/skills?pageSize=0", "pageSize"),
        ("/api/v1/skills?category=custom,unknown", "category"),
        ("/api/v1/skills?isActive=maybe", "isActive"),
        ("/api/v1/skills?sort=random", "sort"),
        ("/api/v1/executions?limit=0", "limit"),
        ("/api/v1/executions?limit=101", "limit"),
        ("/api/v1/executions?offset=-1", "offset"),
        ("/api/v1/executions?status=done", "status"),
        ("/api/v1/executions?executionType=webhook", "executionType"),
        ("/api/v1/executions?skillId=seven", "skillId"),
        ("/api/v1/executions?startDate=yesterday", "startDate"),
        ("/api/v1/executions?startDate=-9999-01-01", "startDate"),
        ("/api/v1/executions?endDate=%2B99999-01-01", "endDate"),
        ("/api/v1/skills?search=%00a", "search"),
        ("/api/v1/executions?startDate=2026-02-01&endDate=2026-01-01", "startDate"),
    ] {
        let reply = ada.get(path).await;
        assert_eq!(reply.body["field"], field, "for {path}: {}", reply.text);
        reply.refused(422, "VALIDATION_ERROR");
    }
    ada.get("/api/v1/skills?unknown=1").await.ok(200);
}

#[tokio::test]
async fn what_is_not_there_is_not_found_in_the_words_of_the_thing() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    for id in ["11111111-1111-4111-8111-111111111111", "seven", "%00", "..%2f", "' OR 1=1 --"] {
        let id = id.replace(' ', "%20");
        ada.get(&format!("/api/v1/skills/{id}")).await.refused(404, "SKILL_NOT_FOUND");
        ada.get(&format!("/api/v1/executions/{id}")).await.refused(404, "EXECUTION_NOT_FOUND");
        ada.post(&format!("/api/v1/executions/{id}/cancel"), json!({})).await.refused(404, "EXECUTION_NOT_FOUND");
    }
    ada.get("/api/v1/nothing").await.refused(404, "NOT_FOUND");
    ada.delete("/api/v1/skills").await.refused(405, "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn the_request_id_is_taken_when_harmless_and_replaced_when_not() {
    let app = Installation::new().await;
    let send = async |id: &'static str| {
        let request = Request::builder().uri("/health").header("x-request-id", id).body(Body::empty()).unwrap();
        app.nobody().send(request).await.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(send("my-Request_1.2").await, "my-Request_1.2");
    for hostile in ["a b", "<script>", ""] {
        assert!(send(hostile).await.parse::<uuid::Uuid>().is_ok(), "{hostile:?} is replaced");
    }
    assert!(app.nobody().get("/health").await.header("x-process-time").unwrap().ends_with("ms"));
}

#[tokio::test]
async fn only_listed_origins_get_cors_headers() {
    let app = Installation::new().await;
    let send = async |origin: &'static str| {
        let request = Request::builder().uri("/health").header("origin", origin).body(Body::empty()).unwrap();
        app.nobody().send(request).await
    };
    let good = send("http://localhost:3000").await;
    assert_eq!(good.header("access-control-allow-origin"), Some("http://localhost:3000"));
    assert_eq!(good.header("access-control-allow-credentials"), Some("true"));
    let evil = send("https://evil.com").await;
    let names: Vec<_> = evil.headers.keys().filter(|name| name.as_str().starts_with("access-control")).collect();
    assert!(names.is_empty(), "an unknown origin learns nothing: {names:?}");
    let preflight =
        Request::builder().method("OPTIONS").uri("/api/v1/skills").header("origin", "http://localhost:3000");
    let preflight = preflight.header("access-control-request-method", "POST").body(Body::empty()).unwrap();
    let reply = app.nobody().send(preflight).await;
    assert_eq!((reply.status.as_u16(), reply.header("access-control-max-age")), (200, Some("600")));
}
