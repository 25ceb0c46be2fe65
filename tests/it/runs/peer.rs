//! The same providers as somebody else understands them: the double here is ours, and could share our mistakes.

use serde_json::json;

use crate::harness::peers::Aimock;
use crate::harness::{Installation, skill};

#[tokio::test]
async fn a_server_that_others_wrote_is_understood_in_every_dialect() {
    let text = "Kijko keeps tenants apart, and says: héllo wörld.";
    let usage = json!({ "prompt_tokens": 12, "completion_tokens": 34, "total_tokens": 46 });
    let response = json!({ "content": text, "usage": usage });
    let fixture = json!({ "match": { "userMessage": "Summarise in one line: x" }, "response": response });
    let peer = Aimock::start(&json!({ "fixtures": [fixture] })).await;
    let (url, compatible) = (peer.url.as_str(), format!("{}/v1", peer.url));
    for (model, settings) in [
        ("claude-3-5-sonnet-20241022", vec![("ANTHROPIC_API_KEY", Aimock::KEY), ("ANTHROPIC_BASE_URL", url)]),
        ("gemini-3-flash-preview", vec![("GOOGLE_API_KEY", Aimock::KEY), ("GOOGLE_BASE_URL", url)]),
        ("openai/gpt-4.1", vec![("OPENAI_API_KEY", Aimock::KEY), ("OPENAI_BASE_URL", &compatible)]),
        (
            "gpt-4o",
            vec![("OPENAI_API_KEY", Aimock::KEY), ("OPENAI_BASE_URL", url), ("OPENAI_API_VERSION", "2024-10-21")],
        ),
    ] {
        let app = Installation::with(&settings).await;
        let ada = app.owner().await;
        let mut body = skill("Summary");
        body["model"] = model.into();
        let created = ada.post("/api/v1/skills", body).await.ok(201);
        let id = ada.execute(created["id"].as_str().expect("an id"), json!({ "text": "x" })).await;
        app.run_jobs().await;
        let execution = ada.execution(&id).await;
        assert_eq!((&execution["status"], &execution["output"]), (&json!("completed"), &json!(text)), "{execution}");
        let tokens = (&execution["promptTokens"], &execution["completionTokens"]);
        assert_eq!(tokens, (&json!(12), &json!(34)), "{model}: {execution}");
    }
}

#[tokio::test]
async fn a_server_that_others_wrote_refuses_a_wrong_key_and_an_unknown_prompt() {
    let peer = Aimock::start(&json!({ "fixtures": [] })).await;
    for (key, code) in [("not-the-key", "INVALID_API_KEY"), (Aimock::KEY, "MODEL_NOT_SUPPORTED")] {
        let url = format!("{}/v1", peer.url);
        let app = Installation::with(&[("OPENAI_API_KEY", key), ("OPENAI_BASE_URL", &url)]).await;
        let ada = app.owner().await;
        let mut body = skill("Summary");
        body["model"] = "openai/gpt-4.1".into();
        let created = ada.post("/api/v1/skills", body).await.ok(201);
        let id = ada.execute(created["id"].as_str().expect("an id"), json!({ "text": "x" })).await;
        app.run_jobs().await;
        assert_eq!(ada.execution(&id).await["errorCode"], code, "it answers 401 to a bad key, 404 without a fixture");
    }
}
