//! An organisation's own keys for model providers: taken by the provider before they are stored, never shown again, used
//! by the runs of that organisation and of no other, and never made good with the installation's own key.

use serde_json::{Value, json};

use crate::harness::provider::{API_KEY, Provider, Reply, google, openai};
use crate::harness::{Installation, Person, skill};

const THEIRS: &str = "sk-ant-own-of-ada-1234567890-WXYZ";
const KEYS: &str = "/api/v1/settings/provider-keys";

async fn installation(more: &[(&str, &str)]) -> (Installation, Provider) {
    let (app, provider) = Installation::with_provider(more).await;
    provider.accept_key(THEIRS);
    (app, provider)
}

async fn store(person: &Person, provider: &str, body: Value) -> crate::harness::Reply {
    person.put(&format!("{KEYS}/{provider}"), body).await
}

async fn skill_with(person: &Person, model: &str) -> String {
    let mut body = skill(&format!("Asks {}", model.replace(['.', '/', ':'], "_")));
    body["model"] = model.into();
    person.post("/api/v1/skills", body).await.ok(201)["id"].as_str().expect("an id").to_owned()
}

async fn run(app: &Installation, person: &Person, skill: &str) -> Value {
    let id = person.execute(skill, json!({ "text": "x" })).await;
    app.run_jobs().await;
    person.execution(&id).await
}

#[tokio::test]
async fn a_key_is_stored_once_the_provider_takes_it_and_never_shown_again() {
    let (app, provider) = installation(&[]).await;
    let ada = app.owner().await;
    assert_eq!(ada.get(KEYS).await.ok(200), json!({ "keys": [] }));
    ada.get(&format!("{KEYS}/anthropic")).await.refused(404, "NOT_FOUND");

    let stored = store(&ada, "anthropic", json!({ "apiKey": THEIRS })).await.ok(200);
    assert_eq!((&stored["provider"], &stored["lastFour"]), (&json!("anthropic"), &json!("WXYZ")));
    assert_eq!(stored["storedBy"], ada.user_id());
    assert!(stored["storedAt"].is_string() && stored.get("baseUrl").is_none(), "{stored}");
    let asked = provider.calls();
    assert_eq!((asked.len(), asked[0].method.as_str()), (1, "GET"), "it is tried with a call that costs nothing");
    assert_eq!(asked[0].header("x-api-key"), Some(THEIRS));

    let listed = ada.get(KEYS).await;
    assert_eq!(listed.body, json!({ "keys": [stored.clone()] }));
    assert_eq!(ada.get(&format!("{KEYS}/anthropic")).await.ok(200), stored);
    let rows = app.everything_stored().await;
    assert!(rows.contains("security.provider_key_stored"), "the audit log tells of it");
    for text in [&rows, &listed.text] {
        assert!(!text.contains(THEIRS) && !text.contains("own-of-ada"), "the key got out: store it sealed");
    }

    ada.delete(&format!("{KEYS}/anthropic")).await.ok(204);
    assert_eq!(ada.get(KEYS).await.ok(200), json!({ "keys": [] }));
    ada.delete(&format!("{KEYS}/anthropic")).await.refused(404, "NOT_FOUND");
    assert_eq!(app.count("audit_logs WHERE event_type = 'security.provider_key_deleted'").await, 1);
}

#[tokio::test]
async fn what_the_provider_refuses_is_not_stored() {
    let (app, provider) = installation(&[("GOOGLE_BASE_URL", "http://127.0.0.1:9")]).await;
    let ada = app.owner().await;
    let bad = json!({ "apiKey": "sk-ant-somebody-elses" });
    let refused = store(&ada, "anthropic", bad).await;
    assert!(!refused.text.contains("somebody-elses"), "{}", refused.text);
    refused.refused_field(422, "VALIDATION_ERROR", "apiKey");
    store(&ada, "anthropic", json!({ "apiKey": "short" })).await.refused_field(422, "VALIDATION_ERROR", "apiKey");
    store(&ada, "anthropic", json!({ "apiKey": THEIRS, "baseUrl": "https://example.com" })).await.refused_field(
        422,
        "VALIDATION_ERROR",
        "baseUrl",
    );
    store(&ada, "mistral", json!({ "apiKey": THEIRS })).await.refused(404, "NOT_FOUND");
    store(&ada, "offline", json!({ "apiKey": THEIRS })).await.refused(404, "NOT_FOUND");
    // Nothing listens there, and that is not the key's fault.
    store(&ada, "google", json!({ "apiKey": "AIza-12345678" })).await.refused(503, "DEPENDENCY_UNAVAILABLE");
    assert_eq!(app.count("provider_keys").await, 0);
    assert_eq!(provider.call_count(), 1, "what is plainly wrong is not sent to anybody");
}

#[tokio::test]
async fn only_owners_and_administrators_who_signed_in_see_and_change_keys() {
    let (app, _provider) = installation(&[]).await;
    let ada = app.owner().await;
    let body = json!({ "apiKey": THEIRS });
    for role in ["member", "viewer"] {
        let person = app.member(&ada, role).await;
        person.get(KEYS).await.refused(403, "FORBIDDEN");
        store(&person, "anthropic", body.clone()).await.refused(403, "FORBIDDEN");
        person.delete(&format!("{KEYS}/anthropic")).await.refused(403, "FORBIDDEN");
    }
    let admin = app.member(&ada, "admin").await;
    store(&admin, "anthropic", body.clone()).await.ok(200);
    let new = json!({ "name": "All powers", "expiration": "never", "scopes": ["read", "write", "admin"] });
    let made = ada.post("/api/v1/security/api-keys", new).await.ok(201);
    let program = app.with_token(made["key"].as_str().expect("a key"));
    store(&program, "anthropic", body).await.refused(403, "INSUFFICIENT_SCOPE");
    program.delete(&format!("{KEYS}/anthropic")).await.refused(403, "INSUFFICIENT_SCOPE");
}

#[tokio::test]
async fn the_database_lets_nobody_but_owners_and_administrators_change_a_key() {
    let (app, _provider) = installation(&[]).await;
    let ada = app.owner().await;
    let member = app.member(&ada, "member").await;
    let mut tx = app.superuser.begin().await.expect("a transaction");
    let context = format!(
        "SET LOCAL ROLE kijko_tenant;
         SELECT set_config('app.current_org_id', '{}', true), set_config('app.current_user_id', '{}', true)",
        ada.organization_id(),
        member.user_id()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(context)).execute(&mut *tx).await.expect("a context");
    let stored: bool = sqlx::query_scalar("SELECT app.store_provider_key('google', 'x', '1234', NULL, NULL, now())")
        .fetch_one(&mut *tx)
        .await
        .expect("the function can be called");
    assert!(!stored, "a member stored a key: the function must ask app.acts_as");
}

#[tokio::test]
async fn runs_use_the_key_of_their_own_organisation_and_of_no_other() {
    let (app, provider) = installation(&[]).await;
    provider.always(Reply::text(&["ok"], 1000, 1000));
    let (ada, eve) = (app.owner().await, app.stranger().await);
    let colleague = app.member(&ada, "member").await;
    store(&ada, "anthropic", json!({ "apiKey": THEIRS })).await.ok(200);
    let sonnet = "claude-3-5-sonnet-20241022";
    let (adas, colleagues, eves) =
        (skill_with(&ada, sonnet).await, skill_with(&colleague, sonnet).await, skill_with(&eve, sonnet).await);
    for (person, skill, key, source) in [
        (&ada, &adas, THEIRS, "own"),
        (&eve, &eves, API_KEY, "platform"),
        (&colleague, &colleagues, THEIRS, "own"),
        (&eve, &eves, API_KEY, "platform"),
    ] {
        let execution = run(&app, person, skill).await;
        assert_eq!((&execution["status"], &execution["keySource"]), (&json!("completed"), &json!(source)));
        assert_eq!(execution["costCents"], 2, "what it costs is told whoever pays");
        let last = provider.calls().pop().expect("a call");
        assert_eq!(last.header("x-api-key"), Some(key), "the key of one organisation was used by another");
    }
    assert_eq!(eve.get(KEYS).await.ok(200), json!({ "keys": [] }), "nor is it seen elsewhere");
    eve.delete(&format!("{KEYS}/anthropic")).await.refused(404, "NOT_FOUND");

    // Sealed for one row, it opens in no other.
    app.sql(&format!(
        "INSERT INTO provider_keys (organization_id, provider, sealed_key, last_four, stored_by, stored_at)
         SELECT '{}', provider, sealed_key, last_four, NULL, stored_at FROM provider_keys",
        eve.organization_id()
    ))
    .await;
    let calls = provider.call_count();
    eve.post(&format!("/api/v1/skills/{eves}/execute"), json!({ "input": { "text": "x" } }))
        .await
        .refused(503, "PROVIDER_NOT_CONFIGURED");
    assert_eq!(provider.call_count(), calls, "a key that was moved is not replaced by ours either");

    ada.delete(&format!("{KEYS}/anthropic")).await.ok(204);
    let execution = run(&app, &ada, &adas).await;
    assert_eq!(execution["keySource"], "platform", "without a key of their own, ours pays again");
}

#[tokio::test]
async fn a_key_that_is_refused_when_it_is_used_is_not_made_good_with_ours() {
    let (app, provider) = installation(&[]).await;
    let ada = app.owner().await;
    store(&ada, "anthropic", json!({ "apiKey": THEIRS })).await.ok(200);
    let skill = skill_with(&ada, "claude-3-5-sonnet-20241022").await;
    provider.revoke_key(THEIRS);
    let before = provider.call_count();
    let failed = run(&app, &ada, &skill).await;
    assert_eq!((&failed["errorCode"], &failed["keySource"]), (&json!("INVALID_API_KEY"), &json!("own")), "{failed}");
    let message = failed["errorMessage"].as_str().expect("a message");
    assert!(message.contains("your organisation stored"), "it says whose key it is: {message}");
    let calls = provider.calls().split_off(before);
    assert!(calls.iter().all(|call| call.header("x-api-key") == Some(THEIRS)), "ours was used in its place");

    let renewed = "sk-ant-renewed-by-ada-0987654321";
    provider.accept_key(renewed).always(Reply::text(&["ok"], 1, 1));
    store(&ada, "anthropic", json!({ "apiKey": renewed })).await.ok(200);
    assert_eq!(run(&app, &ada, &skill).await["status"], "completed", "a replaced key is used at once");
}

#[tokio::test]
async fn an_own_key_opens_a_provider_that_the_installation_has_none_of() {
    let (app, provider) = installation(&[]).await;
    let base = [("GOOGLE_BASE_URL", provider.url())];
    drop(app);
    let settings = [base[0], ("ANTHROPIC_API_KEY", API_KEY), ("ANTHROPIC_BASE_URL", provider.url())];
    let app = Installation::with(&settings).await;
    let (ada, eve) = (app.owner().await, app.stranger().await);
    let (adas, eves) =
        (skill_with(&ada, "gemini-3-flash-preview").await, skill_with(&eve, "gemini-3-flash-preview").await);
    let body = json!({ "input": { "text": "x" } });
    ada.post(&format!("/api/v1/skills/{adas}/execute"), body.clone()).await.refused(503, "PROVIDER_NOT_CONFIGURED");
    store(&ada, "google", json!({ "apiKey": google::KEY })).await.ok(200);
    provider.script(google::text(&["ok"], 1, 1));
    let execution = run(&app, &ada, &adas).await;
    assert_eq!((&execution["status"], &execution["provider"]), (&json!("completed"), &json!("google")), "{execution}");
    eve.post(&format!("/api/v1/skills/{eves}/execute"), body).await.refused(503, "PROVIDER_NOT_CONFIGURED");
    for (person, available) in [(&ada, true), (&eve, false)] {
        let models = person.get("/api/v1/skills/models").await.ok(200);
        let gemini = models["models"].as_array().expect("models").iter().find(|m| m["provider"] == "google");
        assert_eq!(gemini.expect("Gemini")["available"], available, "an own key makes a model available to its owner");
    }
}

#[tokio::test]
async fn an_address_of_ones_own_must_be_public() {
    let (app, provider) = installation(&[]).await;
    let ada = app.owner().await;
    let port = provider.url().rsplit(':').next().expect("a port").to_owned();
    for address in [
        format!("https://127.0.0.1:{port}/compatible/v1"),
        format!("http://127.0.0.1:{port}/compatible/v1"),
        format!("https://localhost:{port}/compatible/v1"),
        format!("https://[::1]:{port}/compatible/v1"),
        format!("https://[::ffff:127.0.0.1]:{port}/compatible/v1"),
        "https://169.254.169.254/latest".to_owned(),
        "https://10.0.0.1/v1".to_owned(),
        "https://0x7f000001/v1".to_owned(),
        "https://user:password@example.com/v1".to_owned(),
        "ftp://example.com".to_owned(),
    ] {
        let body = json!({ "apiKey": openai::KEY, "baseUrl": address });
        store(&ada, "openai", body).await.refused_field(422, "VALIDATION_ERROR", "baseUrl");
    }
    assert_eq!(provider.call_count(), 0, "somebody was sent into the private network");
    assert_eq!(app.count("provider_keys").await, 0);
}

#[tokio::test]
async fn an_address_on_the_allow_list_may_be_ones_own_server() {
    let (app, provider) = installation(&[("OUTBOUND_ALLOWLIST", "127.0.0.0/8")]).await;
    let ada = app.owner().await;
    let base = format!("{}/compatible/v1", provider.url());
    let wrong = json!({ "apiKey": openai::KEY, "baseUrl": format!("{}/compatible", provider.url()) });
    store(&ada, "openai", wrong).await.refused_field(422, "VALIDATION_ERROR", "baseUrl");
    let nobody = json!({ "apiKey": openai::KEY, "baseUrl": Provider::refused_url().await });
    store(&ada, "openai", nobody).await.refused_field(422, "VALIDATION_ERROR", "baseUrl");
    let stored = store(&ada, "openai", json!({ "apiKey": openai::KEY, "baseUrl": format!("{base}/") })).await.ok(200);
    assert_eq!(stored["baseUrl"], base);
    let by_name = base.replace("127.0.0.1", "localhost");
    store(&ada, "openai", json!({ "apiKey": openai::KEY, "baseUrl": by_name })).await.ok(200);
    provider.script(openai::text(&["ok"], 3, 4));
    let skill = skill_with(&ada, "openai/llama3.1:8b").await;
    let execution = run(&app, &ada, &skill).await;
    assert_eq!((&execution["status"], &execution["model"]), (&json!("completed"), &json!("llama3.1:8b")));
    assert_eq!(provider.calls().pop().expect("a call").path, "/compatible/v1/chat/completions");

    // A second process whose list is shorter: what was stored does not lead further than what is allowed now.
    let strict = Installation::beside(&app, &[("ANTHROPIC_API_KEY", API_KEY)]).await;
    let ada = strict.with_token(ada.access_token());
    store(&ada, "openai", json!({ "apiKey": openai::KEY, "baseUrl": base })).await.refused_field(
        422,
        "VALIDATION_ERROR",
        "baseUrl",
    );
}

#[tokio::test]
async fn azure_is_an_endpoint_of_ones_own_too() {
    let (app, provider) = installation(&[("OUTBOUND_ALLOWLIST", "127.0.0.1/32")]).await;
    let ada = app.owner().await;
    let azure = json!({ "apiKey": openai::KEY, "baseUrl": format!("{}/azure", provider.url()),
        "apiVersion": openai::AZURE_VERSION });
    assert_eq!(store(&ada, "openai", azure).await.ok(200)["apiVersion"], openai::AZURE_VERSION);
    provider.script(openai::text(&["ok"], 3, 4));
    let skill = skill_with(&ada, "gpt-4o").await;
    assert_eq!(run(&app, &ada, &skill).await["status"], "completed");
}
