//! The catalogue, and who decides about the model of a run: whoever named it, else the plan; and the policy of the
//! installation, which says so on the run.

use serde_json::{Value, json};

use crate::harness::provider::{API_KEY, Provider, Reply, google, openai};
use crate::harness::{Installation, Person, skill};

const SONNET: &str = "claude-3-5-sonnet-20241022";

async fn skill_with(person: &Person, model: Option<&str>) -> String {
    let mut body = skill(&format!("Asks {}", model.unwrap_or("whoever").replace('.', "_")));
    if let Some(model) = model {
        body["model"] = model.into();
    }
    person.post("/api/v1/skills", body).await.ok(201)["id"].as_str().expect("an id").to_owned()
}

async fn run(app: &Installation, person: &Person, skill: &str) -> Value {
    let id = person.execute(skill, json!({ "text": "x" })).await;
    app.run_jobs().await;
    person.execution(&id).await
}

async fn set_plan(app: &Installation, person: &Person, plan: &str) {
    app.sql(&format!("UPDATE organizations SET plan = '{plan}' WHERE id = '{}'", person.organization_id())).await;
}

#[tokio::test]
async fn the_catalogue_tells_what_can_be_run() {
    let (app, _provider) = Installation::with_provider(&[]).await;
    let viewer = app.member(&app.owner().await, "viewer").await;
    let models = viewer.get("/api/v1/skills/models").await.ok(200)["models"].clone();
    let models = models.as_array().expect("a list");
    let find = |id: &str| models.iter().find(|model| model["id"] == id).unwrap_or_else(|| panic!("{id} is missing"));
    let expected = json!({ "id": "claude-3-5-haiku-20241022", "name": "Claude 3.5 Haiku",
        "description": find("claude-3-5-haiku-20241022")["description"], "provider": "anthropic",
        "aliases": ["claude-3-haiku"], "inputCostPerMillion": "0.25", "outputCostPerMillion": "1.25",
        "maxOutputTokens": 8192, "isDefault": false, "available": true });
    assert_eq!(find("claude-3-5-haiku-20241022"), &expected);
    // Every id of the contract, with its rates and its limit.
    for (id, provider, input, output, limit) in [
        ("claude-sonnet-4-20250514", "anthropic", "3.00", "15.00", 64000),
        (SONNET, "anthropic", "3.00", "15.00", 8192),
        ("claude-3-opus-20240229", "anthropic", "15.00", "75.00", 4096),
        ("gemini-3-flash-preview", "google", "0.50", "3.00", 65536),
    ] {
        let model = find(id);
        assert_eq!((&model["provider"], &model["maxOutputTokens"]), (&json!(provider), &json!(limit)), "{id}");
        assert_eq!((&model["inputCostPerMillion"], &model["outputCostPerMillion"]), (&json!(input), &json!(output)));
        assert_eq!(model["available"], provider == "anthropic", "{id}: there is a key for Anthropic alone");
        assert_eq!(model["isDefault"], id == SONNET, "{id}");
    }
    app.nobody().get("/api/v1/skills/models").await.refused(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_model_that_is_switched_off_is_told_and_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("models.toml");
    let catalogue = include_str!("../../crates/kijko-core/models.toml");
    let switched_off =
        catalogue.replace("id = \"claude-3-opus-20240229\"", "enabled = false\nid = \"claude-3-opus-20240229\"");
    std::fs::write(&path, switched_off).unwrap();
    let (app, provider) = Installation::with_provider(&[("MODEL_CATALOGUE", path.to_str().unwrap())]).await;
    let ada = app.owner().await;
    let models = ada.get("/api/v1/skills/models").await.ok(200);
    let opus = models["models"].as_array().unwrap().iter().find(|model| model["id"] == "claude-3-opus-20240229");
    assert_eq!(opus.expect("it is listed")["available"], false);
    for name in ["claude-3-opus-20240229", "claude-3-opus"] {
        let skill = skill_with(&ada, Some(name)).await;
        ada.post(&format!("/api/v1/skills/{skill}/execute"), json!({ "input": { "text": "x" } })).await.refused_field(
            422,
            "MODEL_NOT_SUPPORTED",
            "model",
        );
    }
    assert_eq!(provider.call_count(), 0);
}

#[tokio::test]
async fn readiness_says_when_the_default_model_is_mapped_to_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("models.toml");
    let catalogue = include_str!("../../crates/kijko-core/models.toml").replace("providerModelId", "#");
    std::fs::write(&path, catalogue).unwrap();
    let (app, _provider) = Installation::with_provider(&[("MODEL_CATALOGUE", path.to_str().unwrap())]).await;
    let ready = app.nobody().get("/health/ready").await.ok(200);
    assert_eq!(ready["checks"]["models"], json!({ "status": "unmapped", "default_model": SONNET }));
    let (app, _provider) = Installation::with_provider(&[]).await;
    let ready = app.nobody().get("/health/ready").await.ok(200);
    assert_eq!(ready["checks"]["models"]["status"], "healthy");
    let app = Installation::with(&[("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")]).await;
    let ready = app.nobody().get("/health/ready").await.ok(200);
    assert_eq!(ready["checks"]["models"]["status"], "unconfigured");
}

#[tokio::test]
async fn where_nobody_named_a_model_the_plan_chooses_its_size() {
    let (app, provider) = Installation::with_provider(&[]).await;
    provider.always(Reply::text(&["ok"], 1_000_000, 0));
    let ada = app.owner().await;
    let skill = skill_with(&ada, None).await;
    for (plan, called, cents) in
        [("free", "claude-haiku-4-5", 25), ("pro", "claude-sonnet-4-6", 300), ("enterprise", "claude-sonnet-4-6", 300)]
    {
        set_plan(&app, &ada, plan).await;
        let execution = run(&app, &ada, &skill).await;
        assert_eq!((&execution["model"], &execution["costCents"]), (&json!(called), &json!(cents)), "on {plan}");
        assert!(execution.get("requestedModel").is_none(), "nobody asked for another: {execution}");
    }
    let shown = ada.get(&format!("/api/v1/skills/{skill}")).await.ok(200);
    assert_eq!(shown["model"], SONNET, "what is shown is the default of the contract");

    // From the moment that somebody names one, it is theirs.
    set_plan(&app, &ada, "free").await;
    ada.put(&format!("/api/v1/skills/{skill}"), json!({ "name": "Other name" })).await.ok(200);
    assert_eq!(run(&app, &ada, &skill).await["model"], "claude-haiku-4-5", "another change names no model");
    ada.put(&format!("/api/v1/skills/{skill}"), json!({ "model": SONNET })).await.ok(200);
    assert_eq!(run(&app, &ada, &skill).await["model"], "claude-sonnet-4-6");
}

#[tokio::test]
async fn going_back_to_a_version_goes_back_to_the_choice_of_the_plan() {
    let (app, provider) = Installation::with_provider(&[]).await;
    provider.always(Reply::text(&["ok"], 1, 1));
    let ada = app.owner().await;
    let skill = skill_with(&ada, None).await;
    let path = format!("/api/v1/skills/{skill}");
    let named = ada.put(&path, json!({ "model": SONNET })).await.ok(200);
    assert_eq!(named["version"], 2, "who answers has changed, though the name is the same");
    assert_eq!(run(&app, &ada, &skill).await["model"], "claude-sonnet-4-6");
    ada.post(&format!("{path}/versions/1/restore"), json!({})).await.ok(200);
    assert_eq!(run(&app, &ada, &skill).await["model"], "claude-haiku-4-5");
}

#[tokio::test]
async fn the_plan_chooses_among_providers_that_can_be_called() {
    let provider = Provider::start().await;
    let compatible = format!("{}/compatible/v1", provider.url());
    let google = [("GOOGLE_API_KEY", google::KEY), ("GOOGLE_BASE_URL", provider.url())];
    let openai = [("OPENAI_API_KEY", openai::KEY), ("OPENAI_BASE_URL", compatible.as_str())];
    for (settings, reply, called) in [
        (google.to_vec(), google::text(&["ok"], 1, 1), "gemini-3-flash-preview"),
        (openai.to_vec(), openai::text(&["ok"], 1, 1), "gpt-4o-mini"),
        ([google, openai].concat(), google::text(&["ok"], 1, 1), "gemini-3-flash-preview"),
    ] {
        let app = Installation::with(&settings).await;
        let ada = app.owner().await;
        let skill = skill_with(&ada, None).await;
        provider.script(reply);
        assert_eq!(run(&app, &ada, &skill).await["model"], called, "Anthropic, then Google, then OpenAI");
    }
}

#[tokio::test]
async fn the_routes_are_configuration() {
    let routes = json!({ "anthropic": { "small": "claude-3-opus-20240229", "large": SONNET } }).to_string();
    let (app, provider) = Installation::with_provider(&[("MODEL_ROUTES", &routes)]).await;
    provider.always(Reply::text(&["ok"], 1, 1));
    let ada = app.owner().await;
    let skill = skill_with(&ada, None).await;
    assert_eq!(run(&app, &ada, &skill).await["model"], "claude-opus-4-6");
}

#[tokio::test]
async fn the_policy_holds_free_organisations_to_the_small_model_and_says_so() {
    let (app, provider) = Installation::with_provider(&[("PLAN_MODEL_POLICY", "enforce")]).await;
    provider.always(Reply::text(&["ok"], 1, 1));
    let ada = app.owner().await;
    let named = skill_with(&ada, Some(SONNET)).await;
    let held = run(&app, &ada, &named).await;
    assert_eq!((&held["model"], &held["requestedModel"]), (&json!("claude-haiku-4-5"), &json!(SONNET)), "{held}");
    assert_eq!(ada.get(&format!("/api/v1/skills/{named}")).await.ok(200)["model"], SONNET, "the skill stays as it is");
    let small = skill_with(&ada, Some("claude-3-haiku")).await;
    let unchanged = run(&app, &ada, &small).await;
    assert!(unchanged.get("requestedModel").is_none(), "nothing was put in its place: {unchanged}");
    set_plan(&app, &ada, "pro").await;
    let free = run(&app, &ada, &named).await;
    assert_eq!(free["model"], "claude-sonnet-4-6", "a plan that includes it is not held");
    assert!(free.get("requestedModel").is_none(), "{free}");

    // Whoever pays chooses.
    set_plan(&app, &ada, "free").await;
    ada.put("/api/v1/settings/provider-keys/anthropic", json!({ "apiKey": API_KEY })).await.ok(200);
    assert_eq!(run(&app, &ada, &named).await["model"], "claude-sonnet-4-6");
}

#[test]
fn settings_that_lead_nowhere_are_refused() {
    for (name, value) in [
        ("MODEL_ROUTES", "not json"),
        ("MODEL_ROUTES", r#"{"mistral": {"small": "a", "large": "b"}}"#),
        ("PLAN_MODEL_POLICY", "sometimes"),
        ("OPENAI_API_VERSION", "2024-10-21"),
        ("OPENAI_BASE_URL", "localhost:11434"),
        ("OUTBOUND_ALLOWLIST", "everywhere"),
    ] {
        let error = kijko_core::Config::from_values(&[(name, value)]).expect_err("refused");
        assert!(error.to_string().contains(name), "{error}");
    }
}
