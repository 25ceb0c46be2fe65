//! Google and GitHub, as the tests know them: oauth2-mock-server stands in for the one, a small server for the other.
//! Both know one person and let them in without asking.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::gate::Gate;
use super::{Installation, Mode, peers};

const CLIENT_ID: &str = "kijko-at-the-provider";
pub const CLIENT_SECRET: &str = "a-secret-of-the-providers";

const TOKEN: &str = "gho_of_the_tests";

/// Who signs in at both.
pub const ADA: &str = "ada@example.com";

pub struct Providers {
    pub google: Google,
    pub github: Github,
}

impl Providers {
    pub async fn start() -> Self {
        let (google, github) = tokio::join!(Google::start(), Github::start());
        Self { google, github }
    }

    /// What an installation is told that asks them directly.
    pub fn settings(&self) -> Vec<(&str, &str)> {
        vec![
            ("GOOGLE_CLIENT_ID", CLIENT_ID),
            ("GOOGLE_CLIENT_SECRET", CLIENT_SECRET),
            ("GOOGLE_ISSUER", &self.google.gate.url),
            ("GITHUB_CLIENT_ID", CLIENT_ID),
            ("GITHUB_CLIENT_SECRET", CLIENT_SECRET),
            ("GITHUB_URL", &self.github.gate.url),
            ("GITHUB_API_URL", &self.github.gate.url),
        ]
    }

    /// An installation that asks them directly.
    pub async fn installation(&self, more: &[(&str, &str)]) -> Installation {
        let mut settings = self.settings();
        settings.extend_from_slice(more);
        Installation::with(&settings).await
    }

    /// The same installation with these two: asked directly, or brokered by its realm.
    pub async fn serve(&self, app: &Installation) -> Installation {
        if app.mode() == Mode::Builtin {
            return Installation::beside(app, &self.settings()).await;
        }
        let at = |gate: &Gate, path: &str| format!("{}{path}", gate.url);
        let google = json!({
            "alias": "google", "providerId": "oidc", "enabled": true, "trustEmail": true,
            "config": {
                "clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET, "clientAuthMethod": "client_secret_post",
                "issuer": self.google.gate.url, "authorizationUrl": at(&self.google.gate, "/authorize"),
                "tokenUrl": at(&self.google.gate, "/token"), "jwksUrl": at(&self.google.gate, "/jwks"),
                "useJwksUrl": "true", "validateSignature": "true", "disableUserInfo": "true",
                "pkceEnabled": "true", "pkceMethod": "S256", "defaultScope": "openid email profile",
            },
        });
        let github = json!({
            "alias": "github", "providerId": "github", "enabled": true,
            "config": {
                "clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET,
                "baseUrl": self.github.gate.url, "apiUrl": self.github.gate.url,
            },
        });
        for provider in [google, github] {
            let path = format!("/identity-provider/instances/{}", provider["alias"].as_str().unwrap());
            app.realm().admin(Method::DELETE, &path, None).await;
            app.realm().admin(Method::POST, "/identity-provider/instances", Some(provider)).await;
        }
        Installation::beside(app, &[]).await
    }
}

pub struct Google {
    pub gate: Arc<Gate>,
    /// Killed when dropped.
    _process: Child,
    talk: tokio::sync::Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
}

impl Google {
    async fn start() -> Self {
        let mut process = Command::new("node")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/it/fixtures/google.mjs"))
            .env("PEER", peers::folder("oauth2-mock-server").await)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is there");
        let orders = process.stdin.take().expect("piped");
        let mut said = BufReader::new(process.stdout.take().expect("piped")).lines();
        let port = said.next_line().await.expect("it can be read").expect("it starts").parse().expect("a port");
        let gate = Gate::open(port).await;
        let google = Self { gate, _process: process, talk: tokio::sync::Mutex::new((orders, said)) };
        google.be(json!({})).await;
        google
    }

    /// How to be from now on; see the head of `google.mjs`. What is not said is as always.
    pub async fn be(&self, order: Value) {
        let mut order = order;
        let mut claims = json!({
            "sub": "108001", "email": ADA, "email_verified": true, "given_name": "Ada", "family_name": "Lovelace",
        });
        claims.as_object_mut().unwrap().extend(order["claims"].as_object().cloned().unwrap_or_default());
        order["claims"] = claims;
        order["issuer"] = json!(self.gate.url);
        let mut talk = self.talk.lock().await;
        talk.0.write_all(format!("{order}\n").as_bytes()).await.expect("it listens");
        let answer = talk.1.next_line().await.expect("it can be read");
        assert_eq!(answer.as_deref(), Some("\"so be it\""), "the stand-in for Google has ended");
    }
}

/// What GitHub says of the person who signs in.
#[derive(Clone)]
pub struct GithubPerson {
    pub id: u64,
    pub name: Option<&'static str>,
    pub emails: Value,
    /// Whether they let Kijko in.
    pub denies: bool,
}

impl Default for GithubPerson {
    fn default() -> Self {
        let emails = json!([
            { "email": "other@example.com", "primary": false, "verified": true },
            { "email": ADA, "primary": true, "verified": true },
        ]);
        Self { id: 583_231, name: Some("Ada Lovelace"), emails, denies: false }
    }
}

pub struct Github {
    pub gate: Arc<Gate>,
    desk: Arc<Desk>,
}

#[derive(Default)]
struct Desk {
    person: Mutex<GithubPerson>,
    /// What each code was given for.
    codes: Mutex<HashMap<String, HashMap<String, String>>>,
}

impl Github {
    async fn start() -> Self {
        let desk = Arc::new(Desk::default());
        let router = Router::new()
            .route("/login/oauth/authorize", get(authorize))
            .route("/login/oauth/access_token", post(access_token))
            .route("/user", get(user))
            .route("/user/emails", get(emails))
            .with_state(desk.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { gate: Gate::open(port).await, desk }
    }

    pub fn be(&self, person: GithubPerson) {
        *self.desk.person.lock().unwrap() = person;
    }
}

async fn authorize(State(desk): State<Arc<Desk>>, Query(asked): Query<HashMap<String, String>>) -> Redirect {
    let mut url = url::Url::parse(&asked["redirect_uri"]).expect("a URL");
    assert_eq!(asked["client_id"], CLIENT_ID);
    url.query_pairs_mut().append_pair("state", &asked["state"]);
    if desk.person.lock().unwrap().denies {
        url.query_pairs_mut().append_pair("error", "access_denied");
    } else {
        let code = uuid::Uuid::new_v4().simple().to_string();
        url.query_pairs_mut().append_pair("code", &code);
        desk.codes.lock().unwrap().insert(code, asked);
    }
    Redirect::to(url.as_str())
}

/// Like GitHub, says no with status 200, and answers with a form unless told otherwise.
async fn access_token(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: String) -> Response {
    let form: HashMap<String, String> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let answer = match check(&desk, &form) {
        Ok(()) => json!({ "access_token": TOKEN, "token_type": "bearer", "scope": "read:user,user:email" }),
        Err(error) => json!({ "error": error, "error_description": "not repeated" }),
    };
    if headers.get("accept").is_some_and(|accept| accept.to_str().is_ok_and(|accept| accept.contains("/json"))) {
        return Json(answer).into_response();
    }
    let pairs = answer.as_object().unwrap().iter().map(|(name, value)| (name, value.as_str().unwrap()));
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().into_response()
}

fn check(desk: &Desk, form: &HashMap<String, String>) -> Result<(), &'static str> {
    let said = |name: &str| form.get(name).map(String::as_str);
    if (said("client_id"), said("client_secret")) != (Some(CLIENT_ID), Some(CLIENT_SECRET)) {
        return Err("incorrect_client_credentials");
    }
    let asked = desk.codes.lock().unwrap().remove(said("code").unwrap_or_default()).ok_or("bad_verification_code")?;
    if asked.get("code_challenge").is_some_and(|challenge| said("code_verifier").map(s256).as_ref() != Some(challenge))
    {
        return Err("bad_verification_code");
    }
    if form.get("redirect_uri") == asked.get("redirect_uri") { Ok(()) } else { Err("redirect_uri_mismatch") }
}

fn s256(verifier: &str) -> String {
    let verifier = oauth2::PkceCodeVerifier::new(verifier.to_owned());
    oauth2::PkceCodeChallenge::from_code_verifier_sha256(&verifier).as_str().to_owned()
}

async fn user(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Result<Json<Value>, StatusCode> {
    let person = authorized(&desk, &headers)?;
    Ok(Json(json!({ "id": person.id, "login": "ada", "name": person.name, "email": null })))
}

async fn emails(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Result<Json<Value>, StatusCode> {
    Ok(Json(authorized(&desk, &headers)?.emails))
}

fn authorized(desk: &Desk, headers: &HeaderMap) -> Result<GithubPerson, StatusCode> {
    let token = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    // GitHub turns away whoever does not say who they are.
    let is_named = headers.contains_key("user-agent");
    let may = is_named && token.to_lowercase().strip_prefix("bearer ") == Some(TOKEN);
    if may { Ok(desk.person.lock().unwrap().clone()) } else { Err(StatusCode::FORBIDDEN) }
}
