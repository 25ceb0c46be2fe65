//! One Keycloak for the whole test binary, started when the first test asks for it, and a realm per test.
//!
//! Where it cannot be had the tests that need it are skipped, and say so; with `KIJKO_REQUIRE_KEYCLOAK` set, as on a
//! build server, they fail instead. The server dies with the test binary: it runs until its standard input ends.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use reqwest::{Method, redirect};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, RwLock};

use super::gate::Gate;

pub const CLIENT_SECRET: &str = "a-secret-of-the-tests";

/// Who signs people in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Builtin,
    Keycloak,
}

struct Server {
    port: u16,
    data: tempfile::TempDir,
    process: Mutex<Option<Child>>,
}

static SERVER: OnceCell<Option<Server>> = OnceCell::const_new();
/// Held for reading by every test that needs Keycloak, and for writing by the one that stops it.
static IN_USE: RwLock<()> = RwLock::const_new(());
static NUMBER: AtomicU32 = AtomicU32::new(0);

async fn server() -> Option<&'static Server> {
    SERVER.get_or_init(|| async { tokio::task::spawn_blocking(start).await.expect("it does not panic") }).await.as_ref()
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/keycloak.sh")
}

fn start() -> Option<Server> {
    let fetched = Command::new(script()).arg("fetch").output().expect("bash is there");
    if !fetched.status.success() {
        let why = String::from_utf8_lossy(&fetched.stderr).into_owned();
        assert!(std::env::var("KIJKO_REQUIRE_KEYCLOAK").is_err(), "Keycloak is required here, but: {why}");
        // Past the test runner, which swallows what a passing test prints.
        let message = format!("\nNOT TESTED: everything with Keycloak, which cannot be had here:\n{why}\n");
        std::io::stderr().write_all(message.as_bytes()).ok();
        return None;
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server { port, data, process: Mutex::new(None) };
    server.launch();
    Some(server)
}

impl Server {
    fn launch(&self) {
        let log = std::fs::File::create(self.data.path().join("log")).expect("a log");
        let process = Command::new(script())
            .args(["serve", &self.port.to_string()])
            .arg(self.data.path())
            .env("KC_BOOTSTRAP_ADMIN_USERNAME", "admin")
            .env("KC_BOOTSTRAP_ADMIN_PASSWORD", "admin")
            .env("JAVA_OPTS_KC_HEAP", "-Xms64m -Xmx512m")
            // It lives for a minute; optimising it takes longer than it saves.
            .env("JAVA_OPTS_APPEND", "-XX:TieredStopAtLevel=1")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the script runs");
        *self.process.lock().unwrap() = Some(process);
        let started = Instant::now();
        let up = || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        while !up() {
            assert!(started.elapsed() < Duration::from_secs(240), "Keycloak does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("log")).unwrap_or_default()
    }

    fn stop(&self) {
        let mut process = self.process.lock().unwrap().take().expect("it runs");
        drop(process.stdin.take());
        process.wait().expect("it stops");
    }
}

/// Keeps Keycloak to oneself, for the test that stops it.
pub struct Alone(&'static Server, #[expect(dead_code, reason = "held")] tokio::sync::RwLockWriteGuard<'static, ()>);

impl Alone {
    pub async fn with_keycloak() -> Option<Self> {
        let server = server().await?;
        Some(Self(server, IN_USE.write().await))
    }

    pub async fn stop(&self) {
        let server = self.0;
        tokio::task::spawn_blocking(|| server.stop()).await.expect("it stops");
    }

    pub async fn start(&self) {
        let server = self.0;
        tokio::task::spawn_blocking(|| server.launch()).await.expect("it starts");
    }
}

/// A realm of a test's own, made of the file that is shipped, and reached through a gate that counts.
pub struct Realm {
    pub name: String,
    gate: Arc<Gate>,
    http: reqwest::Client,
    /// Not for the test that keeps Keycloak to itself.
    _in_use: Option<tokio::sync::RwLockReadGuard<'static, ()>>,
}

impl Realm {
    pub async fn new() -> Option<Arc<Self>> {
        server().await?;
        let in_use = IN_USE.read().await;
        Some(Self::make(Some(in_use), |_| ()).await)
    }

    /// The same with a change to the file.
    pub async fn with(change: impl FnOnce(&mut Value)) -> Option<Arc<Self>> {
        server().await?;
        let in_use = IN_USE.read().await;
        Some(Self::make(Some(in_use), change).await)
    }

    pub async fn alone(_: &Alone) -> Arc<Self> {
        Self::make(None, |_| ()).await
    }

    /// A second one for a test that has one. Not `new`, which may wait for whoever waits for that test.
    pub async fn beside(_: &Realm) -> Arc<Self> {
        Self::make(None, |_| ()).await
    }

    async fn make(
        in_use: Option<tokio::sync::RwLockReadGuard<'static, ()>>,
        change: impl FnOnce(&mut Value),
    ) -> Arc<Self> {
        let name = format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/keycloak/kijko-realm.json");
        let text = std::fs::read_to_string(file).expect("the realm is shipped");
        let mut realm: Value = serde_json::from_str(&text.replace("${KEYCLOAK_CLIENT_SECRET}", CLIENT_SECRET)).unwrap();
        realm["realm"] = json!(name);
        // What the file leaves to whoever wants it.
        realm["clients"][0]["directAccessGrantsEnabled"] = json!(true);
        change(&mut realm);
        let gate = Gate::open(server().await.expect("it started").port).await;
        let http = reqwest::Client::builder().redirect(redirect::Policy::none()).build().expect("a client");
        let made = Self { name, gate, http, _in_use: in_use };
        made.at(Method::POST, "/admin/realms", Some(realm)).await;
        Arc::new(made)
    }

    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    pub fn settings(&self) -> Vec<(&str, &str)> {
        vec![
            ("KIJKO_AUTH_MODE", "keycloak"),
            ("KEYCLOAK_URL", self.gate.url.as_str()),
            ("KEYCLOAK_REALM", self.name.as_str()),
            ("KEYCLOAK_CLIENT_SECRET", CLIENT_SECRET),
            ("KEYCLOAK_DIRECT_GRANT", "true"),
        ]
    }

    /// As the realm's administrator.
    pub async fn admin(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        self.at(method, &format!("/admin/realms/{}{path}", self.name), body).await
    }

    async fn at(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let form =
            [("grant_type", "password"), ("client_id", "admin-cli"), ("username", "admin"), ("password", "admin")];
        let url = format!("{}/realms/master/protocol/openid-connect/token", self.gate.origin());
        let token = self.form(&url, &form).await;
        let token = token.1["access_token"].as_str().expect("the administrator signs in").to_owned();
        let mut request = self.http.request(method, format!("{}{path}", self.gate.origin())).bearer_auth(token);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let reply = request.send().await.expect("Keycloak answers");
        let (status, text) = (reply.status(), reply.text().await.expect("text"));
        assert!(status.is_success(), "Keycloak answers {status} to the administrator at {path}: {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    async fn form(&self, url: &str, form: &[(&str, &str)]) -> (StatusCode, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.http.post(url).header("content-type", "application/x-www-form-urlencoded").body(body);
        let reply = request.send().await.expect("Keycloak answers");
        (reply.status(), reply.json().await.expect("JSON"))
    }

    /// Asks the token endpoint directly, past Kijko.
    pub async fn tokens(&self, more: &[(&str, &str)]) -> Value {
        let mut form = vec![("client_id", "kijko-backend"), ("client_secret", CLIENT_SECRET), ("scope", "openid")];
        form.retain(|(name, _)| !more.iter().any(|(given, _)| given == name));
        form.extend_from_slice(more);
        let url = format!("{}/realms/{}/protocol/openid-connect/token", self.gate.url, self.name);
        let (status, body) = self.form(&url, &form).await;
        assert_eq!(status, 200, "Keycloak refuses: {body}");
        body
    }

    /// Makes a user of the realm, past Kijko.
    pub async fn user(&self, email: &str, more: Value) -> String {
        let mut user = json!({
            "username": email, "email": email, "firstName": "Ada", "lastName": "Lovelace", "enabled": true,
            "credentials": [{ "type": "password", "value": super::PASSWORD, "temporary": false }],
        });
        user.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.admin(Method::POST, "/users", Some(user)).await;
        self.find_user(email).await["id"].as_str().unwrap().to_owned()
    }

    pub async fn find_user(&self, email: &str) -> Value {
        let path = format!("/users?exact=true&email={}", email.replace('@', "%40"));
        self.admin(Method::GET, &path, None).await[0].clone()
    }

    pub async fn password_grant(&self, email: &str) -> Value {
        self.tokens(&[("grant_type", "password"), ("username", email), ("password", super::PASSWORD)]).await
    }

    /// A new key that signs from now on, before all others.
    pub async fn rotate_key(&self) {
        let id = self.admin(Method::GET, "", None).await["id"].clone();
        let priority = (1000 + NUMBER.fetch_add(1, Ordering::Relaxed)).to_string();
        let key = json!({
            "name": format!("key-{priority}"), "providerId": "rsa-generated", "parentId": id,
            "providerType": "org.keycloak.keys.KeyProvider",
            "config": { "priority": [priority], "algorithm": ["RS256"], "keySize": ["2048"] },
        });
        self.admin(Method::POST, "/components", Some(key)).await;
    }
}
