//! Logs are for operators: one line per request says all that is needed, and nothing that belongs to somebody.

use serde_json::{Value, json};

use super::harness::Deployment;
use crate::harness::provider::{API_KEY, Reply};

const EMAIL: &str = "grace.hopper@nosuchplace.example";
const PASSWORD: &str = "a-password-to-look-for-1906";
const INPUT: &str = "an-input-to-look-for-1906";
const OUTPUT: &str = "an-output-to-look-for-1906";

/// What was sent and received that nobody may find in a log, and the ids of the requests.
struct Traffic {
    secrets: Vec<String>,
    output: String,
    user_id: String,
    organization_id: String,
}

async fn traffic(settings: &[(&str, &str)]) -> Traffic {
    let (deployment, provider) = Deployment::with_provider(settings).await;
    let server = deployment.server(&[]).await;
    let nobody = server.nobody();
    let body = json!({ "email": EMAIL, "password": PASSWORD, "first_name": "Grace", "last_name": "Brewster-Hopper" });
    let tokens = nobody.post("/api/v1/auth/signup", body.clone()).await.ok(201);
    nobody.post("/api/v1/auth/signup", body).await.refused(409, "EMAIL_TAKEN");
    let login = json!({ "email": EMAIL, "password": "a-wrong-password-1906" });
    assert_eq!(nobody.post("/api/v1/auth/login", login).await.status, 401);
    let refresh = json!({ "refresh_token": tokens["refresh_token"] });
    let renewed = nobody.post("/api/v1/auth/refresh", refresh).await.ok(200);
    let grace = server.with_token(renewed["access_token"].as_str().unwrap());
    let me = grace.get("/api/v1/auth/me").await.ok(200);
    let skill = grace.create_skill("Summary").await;
    grace.post("/api/v1/skills", json!({ "name": 7, "promptTemplate": INPUT })).await;
    grace.get(&format!("/api/v1/executions?skillId={EMAIL}")).await;
    grace.get(&format!("/api/v1/nothing/{EMAIL}?token={}", grace.token)).await.refused(404, "NOT_FOUND");
    server.with_token("not.a.token-1906").get("/api/v1/skills").await.refused(401, "UNAUTHENTICATED");
    for (reply, status) in [
        (Reply::text(&[OUTPUT], 1, 1), "completed"),
        (Reply::error(401, &format!("bad key {API_KEY}")), "failed"),
        (Reply::error_event("api_error", API_KEY, &[OUTPUT]), "failed"),
        (Reply::cut_after(&[OUTPUT]), "failed"),
    ] {
        provider.script(reply);
        let id = grace.execute(&skill, INPUT).await;
        grace.run_becomes(&id, status).await;
    }
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |tokens: &Value| ["access_token", "refresh_token"].map(|member| text(&tokens[member]));
    let mut secrets: Vec<String> = of(&tokens).into_iter().chain(of(&renewed)).collect();
    let known = [EMAIL, "grace.hopper", PASSWORD, "a-wrong-password-1906", "not.a.token-1906", API_KEY, INPUT, OUTPUT];
    secrets.extend(known.map(str::to_owned));
    secrets.push("Brewster".to_owned());
    secrets.extend(deployment.with(&[]).into_iter().filter(|(name, _)| name == "ENCRYPTION_KEY").map(|(_, key)| key));
    grace.post("/api/v1/auth/logout", json!({ "refresh_token": renewed["refresh_token"] })).await;
    Traffic { secrets, output: server.stop().await, user_id: text(&me["id"]), organization_id: text(&me["org_id"]) }
}

impl Traffic {
    fn holds_no_secret(&self) {
        for secret in &self.secrets {
            let line = self.output.lines().find(|line| line.contains(secret.as_str()));
            assert!(line.is_none(), "{secret:?} is in the log: {line:?}");
        }
    }
}

#[tokio::test]
async fn every_request_is_one_line_of_json() {
    let traffic = traffic(&[("LOG_FORMAT", "json")]).await;
    traffic.holds_no_secret();
    let lines: Vec<Value> = traffic
        .output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: this line is not JSON: {line}")))
        .collect();
    for line in &lines {
        for member in ["ts", "level", "target", "msg"] {
            assert!(line[member].is_string(), "{member} is missing: {line}");
        }
    }
    let requests: Vec<&Value> = lines.iter().filter(|line| line["msg"] == "request").collect();
    let mut ids: Vec<&str> = requests.iter().map(|line| line["request_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), requests.len(), "each request is one line");
    for line in &requests {
        assert!(line["status"].is_u64() && line["duration_ms"].is_u64(), "{line}");
        let from = line["ip_hash"].as_str().unwrap_or_default();
        assert!(from.len() == 16 && from == requests[0]["ip_hash"], "all come from one place: {line}");
    }
    let line = |method: &str, path: &str, status: u64| {
        let found = requests.iter().find(|l| l["method"] == method && l["path"] == path && l["status"] == status);
        *found.unwrap_or_else(|| panic!("no line for {method} {path} {status}:\n{}", traffic.output))
    };
    let whose = |line: &Value| (line["user_id"].clone(), line["org_id"].clone(), line["error_code"].clone());
    let grace = (json!(traffic.user_id), json!(traffic.organization_id), Value::Null);
    assert_eq!(whose(line("GET", "/api/v1/auth/me", 200)), grace);
    assert_eq!(whose(line("GET", "/api/v1/executions/{id}", 200)), grace, "the path is the template, without the id");
    assert_eq!(whose(line("POST", "/api/v1/skills/{id}/execute", 202)), grace);
    let refused = |code: &str| (Value::Null, Value::Null, json!(code));
    assert_eq!(whose(line("POST", "/api/v1/auth/signup", 409)), refused("EMAIL_TAKEN"));
    assert_eq!(whose(line("GET", "/api/v1/skills", 401)), refused("UNAUTHENTICATED"));
    let unknown = line("GET", "-", 404);
    assert_eq!(unknown["error_code"], "NOT_FOUND", "a path that nobody knows is not repeated: {unknown}");
    assert_eq!(line("POST", "/api/v1/skills", 422)["error_code"], "VALIDATION_ERROR");
}

#[tokio::test]
async fn no_level_and_no_format_of_the_log_holds_a_secret() {
    for format in ["text", "json"] {
        let traffic = traffic(&[("LOG_FORMAT", format), ("LOG_LEVEL", "trace")]).await;
        assert!(traffic.output.contains("TRACE"), "everything is told:\n{}", traffic.output);
        traffic.holds_no_secret();
    }
}
