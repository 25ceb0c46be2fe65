//! Starts the programs in an environment of nothing but their settings, and talks to them over real connections.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use regex::Regex;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::harness::provider::{API_KEY, Provider};
use crate::harness::{self, PASSWORD, Reply, cluster};

/// For one step of a process. Machines that run tests are slow at times.
const PATIENCE: Duration = Duration::from_secs(30);

/// A database, and the settings of the processes that use it.
pub struct Deployment {
    pub superuser: PgPool,
    settings: Vec<(String, String)>,
}

impl Deployment {
    /// On a migrated database of its own.
    pub async fn new(settings: &[(&str, &str)]) -> Self {
        Self::on(&cluster::fresh_database().await, settings)
    }

    /// The same, with models that are those of a double of the provider.
    pub async fn with_provider(settings: &[(&str, &str)]) -> (Self, Provider) {
        let provider = Provider::start().await;
        let mut all = vec![("ANTHROPIC_API_KEY", API_KEY), ("ANTHROPIC_BASE_URL", provider.url())];
        all.extend_from_slice(settings);
        (Self::new(&all).await, provider)
    }

    pub fn on(database: &str, settings: &[(&str, &str)]) -> Self {
        Self::at(cluster::options("postgres", database), harness::settings(database, settings))
    }

    pub fn at(superuser: PgConnectOptions, settings: Vec<(String, String)>) -> Self {
        let superuser = PgPoolOptions::new().max_connections(2).connect_lazy_with(superuser);
        Self { superuser, settings }
    }

    /// A server on this database that answers.
    pub async fn server(&self, more: &[(&str, &str)]) -> Server {
        self.server_with(&[], more).await
    }

    pub async fn server_with(&self, args: &[&str], more: &[(&str, &str)]) -> Server {
        Server::start(args, &self.with(more)).await
    }

    /// A process that only works.
    pub fn worker(&self, more: &[(&str, &str)]) -> Process {
        Process::spawn("kijko", &["worker"], &self.with(more))
    }

    /// What a command answers.
    pub async fn kijko(&self, args: &[&str]) -> Answer {
        answer("kijko", args, &self.settings).await
    }

    /// The same, with this on standard input.
    pub async fn kijko_fed(&self, args: &[&str], input: &str) -> Answer {
        let mut child = command("kijko", args, &self.settings).stdin(Stdio::piped()).spawn().expect("it can be run");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(input.as_bytes()).await.expect("it reads");
        drop(stdin);
        Answer::of(child.wait_with_output()).await
    }

    pub fn with(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.settings.iter().cloned().chain(more).collect()
    }

    pub async fn sql(&self, statement: &str) {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        sqlx::query(statement).execute(&self.superuser).await.expect("the statement is valid");
    }

    pub async fn count(&self, from_where: &str) -> usize {
        let sql = format!("SELECT count(*) FROM {from_where}");
        let count: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&self.superuser).await.expect("the query is valid");
        usize::try_from(count).expect("a count")
    }

    /// The only column of what a query finds.
    pub async fn texts(&self, query: &'static str) -> Vec<String> {
        sqlx::query_scalar(query).fetch_all(&self.superuser).await.expect("the query is valid")
    }

    /// How many runs have this status.
    pub async fn runs(&self, status: &str) -> usize {
        self.count(&format!("skill_executions WHERE status = '{status}'")).await
    }

    /// Waits until no run waits or runs.
    pub async fn all_runs_end(&self, limit: Duration) {
        within(limit, "every run ends", async || {
            self.count("skill_executions WHERE status IN ('pending', 'running')").await == 0
        })
        .await;
    }
}

/// A program that runs; killed when this ends.
pub struct Process {
    child: Child,
    output: watch::Receiver<String>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    pub fn spawn(binary: &str, args: &[&str], settings: &[(String, String)]) -> Self {
        let mut child = command(binary, args, settings).spawn().expect("the program can be run");
        let (sender, output) = watch::channel(String::new());
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        let readers = vec![tokio::spawn(read(stdout, sender.clone())), tokio::spawn(read(stderr, sender))];
        Self { child, output, readers }
    }

    /// Everything that it has written so far.
    pub fn output(&self) -> String {
        self.output.borrow().clone()
    }

    /// Waits until its output matches, and gives the first group.
    pub async fn says(&self, pattern: &str) -> String {
        let regex = Regex::new(pattern).expect("a valid pattern");
        let mut output = self.output.clone();
        let waiting = output.wait_for(|text| regex.is_match(text));
        let text = match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(Ok(text)) => text.clone(),
            _ => panic!(
                "the program never said {pattern:?}; if it is older than the code, run `make test`; it said:\n{}",
                self.output()
            ),
        };
        let found = regex.captures(&text).expect("it matched");
        found.get(1).map_or("", |group| group.as_str()).to_owned()
    }

    /// SIGTERM, SIGINT and the like.
    pub async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().await.expect("every Unix has kill");
        assert!(status.success(), "the program must still run to get {name}");
    }

    /// SIGKILL: no warning, no farewell.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// Waits for its end, and gives the exit code and all that it wrote.
    pub async fn ends(mut self) -> (i32, String) {
        let Ok(status) = tokio::time::timeout(PATIENCE, self.child.wait()).await else {
            panic!("the program does not end; it said:\n{}", self.output());
        };
        for reader in self.readers.drain(..) {
            reader.await.expect("reading does not panic");
        }
        let output = self.output();
        let code = status.expect("it is our child").code();
        (code.unwrap_or_else(|| panic!("the program was killed by a signal; it said:\n{output}")), output)
    }
}

async fn read(mut stream: impl AsyncRead + Unpin, sender: watch::Sender<String>) {
    let mut rest = Vec::new();
    while stream.read_buf(&mut rest).await.is_ok_and(|read| read > 0) {
        // Whole lines only, so that two streams do not mix within one.
        if let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') {
            let lines: Vec<u8> = rest.drain(..=end).collect();
            sender.send_modify(|text| text.push_str(&String::from_utf8_lossy(&lines)));
        }
    }
    sender.send_modify(|text| text.push_str(&String::from_utf8_lossy(&rest)));
}

/// What a command said and how it ended.
pub struct Answer {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    async fn of(running: impl Future<Output = std::io::Result<std::process::Output>>) -> Self {
        let output = tokio::time::timeout(PATIENCE, running).await;
        let output = output.expect("the command ends soon").expect("the program can be run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().expect("it was not killed");
        Self { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// The answer must have this exit code; gives all that was said.
    #[track_caller]
    pub fn exits(&self, code: i32) -> String {
        let text = format!("{}{}", self.stdout, self.stderr);
        assert_eq!(self.code, code, "the exit code is wrong; it said:\n{text}");
        text
    }

    /// The same for `--json`; gives what is on standard output, where nothing else may be.
    #[track_caller]
    pub fn json(&self, code: i32) -> Value {
        let text = self.exits(code);
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: standard output is not JSON:\n{text}"))
    }
}

/// Runs a program to its end.
pub async fn answer(binary: &str, args: &[&str], settings: &[(String, String)]) -> Answer {
    Answer::of(command(binary, args, settings).output()).await
}

/// Nothing of the environment of the test but the path, and no file of the folder that it happens to run in.
fn command(binary: &str, args: &[&str], settings: &[(String, String)]) -> Command {
    let mut command = Command::new(program(binary));
    command
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOST", "127.0.0.1")
        .env("PORT", "0")
        .env("SECRETS_DIR", "/nonexistent")
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Beside the folder of the test binary, where `cargo build` puts it.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test binary has a path");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("it lies in target/debug/deps");
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing; run `make test`, which builds the programs first", path.display());
    path
}

/// A server that answers.
pub struct Server {
    pub process: Process,
    pub url: String,
    http: reqwest::Client,
}

impl Server {
    pub async fn start(args: &[&str], settings: &[(String, String)]) -> Self {
        let process = Process::spawn("kijko-http", args, settings);
        let port = process.says(r#"(?:running at http://localhost:|"port":)(\d+)"#).await;
        let url = format!("http://127.0.0.1:{port}");
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        let server = Self { process, url, http };
        server.nobody().get("/health").await.ok(200);
        server
    }

    pub fn nobody(&self) -> Client {
        self.with_token("")
    }

    pub fn with_token(&self, token: &str) -> Client {
        Client { url: self.url.clone(), http: self.http.clone(), token: token.to_owned() }
    }

    /// Somebody who just signed up.
    pub async fn owner(&self) -> Client {
        let email = format!("owner-{}@example.com", uuid::Uuid::new_v4().simple());
        let body = json!({ "email": email, "password": PASSWORD, "first_name": "Ada", "last_name": "Lovelace" });
        let tokens = self.nobody().post("/api/v1/auth/signup", body).await.ok(201);
        self.with_token(tokens["access_token"].as_str().expect("a token"))
    }

    /// SIGTERM; it must end well, and its output is given.
    pub async fn stop(self) -> String {
        self.process.signal("TERM").await;
        let (code, output) = self.process.ends().await;
        assert_eq!(code, 0, "a server that is told to stop ends well; it said:\n{output}");
        output
    }
}

/// Somebody who uses a server over the network.
#[derive(Clone)]
pub struct Client {
    pub token: String,
    url: String,
    http: reqwest::Client,
}

impl Client {
    pub async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path, None).await.expect("the server answers")
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.call(Method::POST, path, Some(body)).await.expect("the server answers")
    }

    /// An error is that of the connection.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> reqwest::Result<Reply> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await?;
        Ok(Reply { status, headers, body: serde_json::from_str(&text).unwrap_or_default(), text })
    }

    pub async fn create_skill(&self, name: &str) -> String {
        let created = self.post("/api/v1/skills", harness::skill(name)).await.ok(201);
        created["id"].as_str().expect("an id").to_owned()
    }

    pub async fn execute(&self, skill: &str, text: &str) -> String {
        let reply = self.post(&format!("/api/v1/skills/{skill}/execute"), json!({ "input": { "text": text } })).await;
        reply.ok(202)["executionId"].as_str().expect("an id").to_owned()
    }

    pub async fn execution(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/executions/{id}")).await.ok(200)
    }

    pub async fn execution_count(&self, skill: &str) -> Value {
        self.get(&format!("/api/v1/skills/{skill}")).await.ok(200)["executionCount"].clone()
    }

    /// Waits until a run has this status, and gives it.
    pub async fn run_becomes(&self, id: &str, status: &str) -> Value {
        within(PATIENCE, &format!("the run becomes {status}"), async || self.execution(id).await["status"] == status)
            .await;
        self.execution(id).await
    }
}

/// Waits for what happens sooner or later, but not for longer than this.
pub async fn within(limit: Duration, what: &str, mut happened: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !happened().await {
        assert!(started.elapsed() < limit, "it did not happen within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
