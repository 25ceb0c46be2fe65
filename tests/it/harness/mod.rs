//! An installation per test, on a database of its own, and people who use it.
//!
//! `let app = Installation::new().await;` then `app.owner().await.post("/api/v1/skills", json!({..})).await`.
//! On drop it fails the test if jobs were left unrun.

use std::sync::Arc;

use axum::Router;
use chrono::TimeDelta;
use kijko_core::testing::{self, FixedClock, Mail, SentMails};
use kijko_core::{App, Config};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub mod browser;
pub mod cluster;
pub mod gate;
pub mod keycloak;
pub mod peers;
mod people;
pub mod provider;
pub mod redis;
pub mod social;

pub use keycloak::Mode;
use keycloak::Realm;
pub use people::{Person, Reply};
use provider::{API_KEY, Provider};

pub struct Installation {
    pub app: App,
    pub clock: Arc<FixedClock>,
    mails: Arc<SentMails>,
    /// Sees everything; for looking behind the curtain.
    pub superuser: PgPool,
    pub database: String,
    router: Router,
    jobs_may_be_left: bool,
    /// Who signs people in, when that is a realm.
    realm: Option<Arc<Realm>>,
}

impl Installation {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With these settings on top of those of every test.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let database = cluster::fresh_database().await;
        Self::on(database, settings).await
    }

    /// With whoever this mode leaves the signing in to. None where there is no Keycloak, which was said aloud.
    pub async fn in_mode(mode: Mode, settings: &[(&str, &str)]) -> Option<Self> {
        match mode {
            Mode::Builtin => Some(Self::with(settings).await),
            Mode::Keycloak => {
                let realm = Realm::new().await?;
                Some(Self::with_realm(realm, settings).await)
            }
        }
    }

    pub async fn with_realm(realm: Arc<Realm>, settings: &[(&str, &str)]) -> Self {
        Self::start(cluster::fresh_database().await, settings, Some(realm)).await
    }

    pub fn mode(&self) -> Mode {
        if self.realm.is_some() { Mode::Keycloak } else { Mode::Builtin }
    }

    /// The realm of an installation in Keycloak mode.
    pub fn realm(&self) -> &Arc<Realm> {
        self.realm.as_ref().expect("this installation is in Keycloak mode")
    }

    /// With models that are those of a double of the provider.
    pub async fn with_provider(settings: &[(&str, &str)]) -> (Self, Provider) {
        let provider = Provider::start().await;
        let mut all = vec![("ANTHROPIC_API_KEY", API_KEY), ("ANTHROPIC_BASE_URL", provider.url())];
        all.retain(|(name, _)| !settings.iter().any(|(other, _)| other == name));
        all.extend_from_slice(settings);
        (Self::with(&all).await, provider)
    }

    /// A second process, so to speak, on the database of another installation.
    pub async fn beside(other: &Installation, settings: &[(&str, &str)]) -> Self {
        let mut installation = Self::start(other.database.clone(), settings, other.realm.clone()).await;
        installation.jobs_may_be_left = true;
        installation
    }

    async fn on(database: String, settings: &[(&str, &str)]) -> Self {
        Self::start(database, settings, None).await
    }

    async fn start(database: String, settings: &[(&str, &str)], realm: Option<Arc<Realm>>) -> Self {
        let clock = match &realm {
            None => FixedClock::starting_now(),
            // Keycloak's own clock goes on, and tokens must not seem to come from the future.
            Some(_) => FixedClock::going_from_now(),
        };
        let mut all: Vec<_> = realm.iter().flat_map(|realm| realm.settings()).collect();
        all.extend_from_slice(settings);
        let mails = Arc::default();
        let app = testing::connect(config(&database, &all), clock.clone(), Arc::clone(&mails)).await;
        let app = app.expect("the installation starts");
        let options = cluster::options("postgres", &database);
        let superuser = PgPoolOptions::new().max_connections(2).connect_lazy_with(options);
        let router = kijko_http::router(&app);
        Self { app, clock, mails, superuser, database, router, jobs_may_be_left: false, realm }
    }

    /// For tests about jobs that are not run.
    pub fn leave_jobs(&mut self) {
        self.jobs_may_be_left = true;
    }

    pub fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.clock.at()
    }

    pub fn advance(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    /// Runs every job that is ready, and sweeps before.
    pub async fn run_jobs(&self) {
        kijko_core::services::worker::run_ready(&self.app).await.expect("the jobs run");
    }

    /// The mails that went to this address, oldest first, after running the jobs that send them.
    pub async fn mails_to(&self, email: &str) -> Vec<Mail> {
        // The wish for a link is one job, and the mail that it becomes another.
        self.run_jobs().await;
        self.run_jobs().await;
        self.mails.all().into_iter().filter(|mail| mail.to == email).collect()
    }

    /// The token in the link of the last mail to this address.
    pub async fn mailed_token(&self, email: &str) -> String {
        let mails = self.mails_to(email).await;
        token_in(&mails.last().unwrap_or_else(|| panic!("no mail went to {email}")).text)
    }

    /// How many rows a query counts, as the superuser.
    pub async fn count(&self, from_where: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {from_where}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&self.superuser).await.expect("the query is valid")
    }

    /// Every row of every table, as text; for looking for what must be in none. (XML would stumble over infinite times.)
    pub async fn everything_stored(&self) -> String {
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT c.oid::regclass::text FROM pg_class c
              WHERE relkind IN ('r', 'p') AND relnamespace NOT IN ('pg_catalog'::regnamespace,
                                                                   'information_schema'::regnamespace)",
        )
        .fetch_all(&self.superuser)
        .await
        .expect("the tables can be listed");
        assert!(tables.len() > 20, "only {tables:?} would be searched");
        let mut all = String::new();
        for table in tables {
            let rows = format!("SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} t");
            let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_one(&self.superuser).await;
            let rows: String = rows.expect("the superuser reads everything");
            all += &rows;
        }
        all
    }

    /// Runs a statement as the superuser, for what no endpoint can do yet.
    pub async fn sql(&self, statement: &str) {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        sqlx::query(statement).execute(&self.superuser).await.expect("the statement is valid");
    }

    /// Somebody without a credential.
    pub fn nobody(&self) -> Person {
        Person::new(self.router.clone(), None)
    }

    /// Somebody who just signed up: the owner of an organisation of their own.
    pub async fn owner(&self) -> Person {
        self.sign_up(&format!("owner-{}@example.com", uuid::Uuid::new_v4().simple())).await
    }

    /// The owner of another organisation, who must never see anything of the first.
    pub async fn stranger(&self) -> Person {
        self.sign_up(&format!("stranger-{}@example.com", uuid::Uuid::new_v4().simple())).await
    }

    /// Somebody with this role in the organisation of `owner`.
    pub async fn member(&self, owner: &Person, role: &str) -> Person {
        let email = format!("{role}-{}@example.com", uuid::Uuid::new_v4().simple());
        let person = self.sign_up(&email).await;
        let (organization, user) = (owner.organization_id(), person.user_id());
        self.sql(&format!(
            "INSERT INTO organization_members (organization_id, user_id, role, joined_at)
             VALUES ('{organization}', '{user}', '{role}', '2000-01-01')"
        ))
        .await;
        let reply = self.nobody().post("/api/v1/auth/login", json!({ "email": email, "password": PASSWORD })).await;
        Person::new(self.router.clone(), Some(reply.ok(200)))
    }

    pub async fn sign_up(&self, email: &str) -> Person {
        let body = json!({ "email": email, "password": PASSWORD, "first_name": "Ada", "last_name": "Lovelace" });
        let reply = self.nobody().post("/api/v1/auth/signup", body).await;
        Person::new(self.router.clone(), Some(reply.ok(201)))
    }

    /// The same person in the organisation that they enter first.
    pub async fn sign_in(&self, email: &str) -> Person {
        let reply = self.nobody().post("/api/v1/auth/login", json!({ "email": email, "password": PASSWORD })).await;
        Person::new(self.router.clone(), Some(reply.ok(200)))
    }

    /// The same person with a new pair of tokens, after the access token expired.
    pub async fn signed_in_again(&self, person: &Person) -> Person {
        let body = json!({ "refresh_token": person.refresh_token() });
        let tokens = self.nobody().post("/api/v1/auth/refresh", body).await.ok(200);
        Person::new(self.router.clone(), Some(tokens))
    }

    /// The same person with another token.
    pub fn with_token(&self, token: &str) -> Person {
        Person::new(self.router.clone(), Some(json!({ "access_token": token, "refresh_token": "" })))
    }
}

/// The token of the one link in a mail.
pub fn token_in(text: &str) -> String {
    let link =
        text.split_whitespace().find(|word| word.contains("?token=")).unwrap_or_else(|| panic!("no link: {text}"));
    let token = link.split("token=").nth(1).expect("it has a token");
    assert!(token.len() >= 43, "a token has at least 256 bits: {token}");
    token.to_owned()
}

pub const PASSWORD: &str = "testpass123";

pub fn config(database: &str, more: &[(&str, &str)]) -> Config {
    let settings = settings(database, more);
    let values: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Config::from_values(&values).expect("the settings of a test are valid")
}

/// The settings of a test: nothing waits, nothing is shared.
pub fn settings(database: &str, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let (app, owner) = (cluster::url("kijko_app", database), cluster::url("kijko_owner", database));
    let mut settings = vec![
        ("DATABASE_URL", app.as_str()),
        ("DATABASE_OWNER_URL", owner.as_str()),
        ("DB_MAX_CONNECTIONS", "6"),
        ("ENCRYPTION_KEY", "a2lqa28gdGVzdHMgdXNlIHRoaXMga2V5IDEyMzQ1Njc="),
        ("API_KEY_PEPPER", "the pepper of the tests, 32 characters and more"),
        ("MODEL_BACKOFF_MS", "10"),
        ("JOB_CONCURRENCY", "4"),
        ("SHUTDOWN_GRACE_SECS", "5"),
        // The tests of limits say otherwise, and production does not let go of them.
        ("RATE_LIMITS_ENABLED", if more.contains(&("KIJKO_ENV", "ai")) { "true" } else { "false" }),
    ];
    if more.contains(&("KIJKO_ENV", "ai")) {
        // Production wants a mail server and a front end; these are never called.
        let elsewhere =
            [("MAIL_PROVIDER", "smtp"), ("SMTP_URL", "smtps://127.0.0.1:9"), ("APP_URL", "https://app.kijko.nl")];
        settings.extend(elsewhere);
    }
    settings.extend_from_slice(more);
    settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

impl Drop for Installation {
    fn drop(&mut self) {
        if self.jobs_may_be_left || std::thread::panicking() {
            return;
        }
        let options: PgConnectOptions = cluster::options("postgres", &self.database);
        let left: Vec<String> = cluster::block_on(async move {
            let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
            sqlx::query_scalar(
                // Mails are a matter of course: nearly every test signs somebody up.
                "SELECT payload::text FROM graphile_worker._private_jobs
                  WHERE attempts < max_attempts AND payload ->> 'kind' <> 'send_mail'",
            )
            .fetch_all(&pool)
            .await
            .expect("the jobs can be counted")
        });
        assert!(
            left.is_empty(),
            "{} jobs were left unrun: call app.run_jobs(), or app.leave_jobs() if that is the point: {left:?}",
            left.len()
        );
    }
}

/// A body that creates a skill.
pub fn skill(name: &str) -> Value {
    json!({ "name": name, "promptTemplate": "Summarise in one line: {{text}}" })
}

/// Waits for what happens soon, for at most ten seconds.
pub async fn eventually(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    let started = std::time::Instant::now();
    while !happened().await {
        assert!(started.elapsed().as_secs() < 10, "it did not happen within ten seconds: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// What works in the background until it is stopped.
pub struct Worker {
    stop: CancellationToken,
    task: JoinHandle<kijko_core::Result<()>>,
}

impl Worker {
    pub fn start<W>(work: impl FnOnce(CancellationToken) -> W) -> Self
    where
        W: Future<Output = kijko_core::Result<()>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let task = tokio::spawn(work(stop.clone()));
        Self { stop, task }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the worker does not panic").expect("the worker ends well");
    }
}
