//! A database that goes away for a while takes nothing with it: requests are told so, paid results wait for it, and
//! everything goes on by itself when it is back.

use std::time::{Duration, Instant};

use kijko_core::testing::{EmbeddedOptions, EmbeddedPostgres};
use reqwest::Method;
use serde_json::json;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use super::embedded::folder;
use super::harness::{Deployment, within};
use crate::harness;
use crate::harness::provider::{API_KEY, Provider, Reply};

const SOON: Duration = Duration::from_secs(15);

/// A database server of our own, which the processes know by its address only.
struct Database {
    options: EmbeddedOptions,
    server: Option<EmbeddedPostgres>,
}

impl Database {
    async fn create(folder: &std::path::Path) -> Self {
        let data_dir = folder.join("data");
        let options = EmbeddedOptions { data_dir, bin_dir: None, max_connections: 60, fast_unsafe: true };
        let mut database = Self { options, server: None };
        database.start().await;
        let mut admin = database.login("postgres", "postgres").connect().await.expect("it answers");
        for statement in ["CREATE ROLE kijko_owner LOGIN CREATEROLE", "CREATE DATABASE kijko OWNER kijko_owner"] {
            sqlx::query(statement).execute(&mut admin).await.expect("a fresh cluster has neither");
        }
        database
    }

    async fn start(&mut self) {
        self.server = Some(EmbeddedPostgres::start(&self.options).await.expect("PostgreSQL starts"));
    }

    /// Breaks every connection.
    async fn stop(&mut self) {
        self.server.take().expect("it runs").stop().await.expect("PostgreSQL stops");
    }

    fn server(&self) -> &EmbeddedPostgres {
        self.server.as_ref().expect("it runs")
    }

    fn login(&self, role: &str, database: &str) -> PgConnectOptions {
        let server = self.server();
        let host = server.socket_dir().to_string_lossy().into_owned();
        PgConnectOptions::new_without_pgpass().host(&host).port(server.port()).username(role).database(database)
    }

    fn url(&self, role: &str) -> String {
        let socket = self.server().socket_dir().to_string_lossy().replace('/', "%2F");
        format!("postgres://{role}@{socket}:{}/kijko", self.server().port())
    }
}

#[tokio::test]
async fn a_restart_of_the_database_loses_no_run_and_doubles_none() {
    let folder = folder();
    let mut database = Database::create(folder.path()).await;
    let provider = Provider::start().await;
    let (app, owner) = (database.url("kijko_app"), database.url("kijko_owner"));
    let own = [
        ("DATABASE_URL", app.as_str()),
        ("DATABASE_OWNER_URL", owner.as_str()),
        ("ANTHROPIC_API_KEY", API_KEY),
        ("ANTHROPIC_BASE_URL", provider.url()),
        ("JOB_CONCURRENCY", "2"),
    ];
    let deployment = Deployment::at(database.login("postgres", "kijko"), harness::settings("unused", &own));
    deployment.kijko(&["migrate", "up"]).await.exits(0);
    provider.always(Reply::text(&["ok"], 10, 5).held());
    let server = deployment.server(&[]).await;
    let ada = server.owner().await;
    let skill = ada.create_skill("Summary").await;
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(ada.execute(&skill, &format!("<{n}>")).await);
    }
    provider.wait_for_calls(2).await;
    deployment.superuser.close().await;

    database.stop().await;
    for _ in 0..5 {
        ada.get("/api/v1/skills").await.refused(503, "DEPENDENCY_UNAVAILABLE");
        ada.post("/api/v1/skills", harness::skill("Lost")).await.refused(503, "DEPENDENCY_UNAVAILABLE");
    }
    let login = json!({ "email": "ada@example.com", "password": harness::PASSWORD });
    let told = server.nobody().post("/api/v1/auth/login", login).await.refused(503, "AUTH_UNAVAILABLE");
    assert!(!told.to_string().contains("socket") && !told.to_string().contains("/tmp"), "no address is told: {told}");
    server.nobody().get("/health").await.ok(200);
    assert_eq!(server.nobody().get("/health/ready").await.status, 503, "it says that it is not ready");
    // Both answers come while there is nowhere to write them.
    provider.always(Reply::text(&["ok"], 10, 5));
    provider.release(2);
    provider.wait_until_idle().await;

    database.start().await;
    let back = Instant::now();
    let deployment = Deployment::at(database.login("postgres", "kijko"), deployment.with(&[]));
    within(SOON, "requests are answered again", async || ada.get("/api/v1/skills").await.status == 200).await;
    deployment.all_runs_end(SOON).await;
    assert!(back.elapsed() < SOON, "everything goes on soon, not after {:?}", back.elapsed());
    assert_eq!(deployment.runs("completed").await, 6, "no run is lost");
    assert_eq!(provider.call_count(), 6, "no run called the provider twice");
    assert_eq!(ada.execution_count(&skill).await, 6);
    within(SOON, "it says that it is ready", async || server.nobody().get("/health/ready").await.status == 200).await;

    // New runs are found and cancellations heard as before.
    let listening = "pg_stat_activity WHERE datname = 'kijko' AND query LIKE 'LISTEN%kijko_events%'";
    within(SOON, "the server listens again", async || deployment.count(listening).await == 1).await;
    provider.always(Reply::hang());
    let id = ada.execute(&skill, "to be cancelled").await;
    provider.wait_for_calls(7).await;
    let asked = Instant::now();
    let path = format!("/api/v1/executions/{id}/cancel");
    ada.call(Method::POST, &path, None).await.expect("the server answers").ok(200);
    let left = provider.wait_for_disconnect().await.left_at().expect("it was left");
    assert!(
        left - asked < Duration::from_secs(2),
        "cancellations are heard within two seconds, not {:?}",
        left - asked
    );
    assert_eq!(ada.execution(&id).await["status"], "cancelled");
    let output = server.stop().await;
    assert!(!output.contains("panicked"), "{output}");
    deployment.superuser.close().await;
    database.stop().await;
}
