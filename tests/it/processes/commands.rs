//! What `kijko` and a server that cannot start say, in words, in JSON, and in exit codes.

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::embedded::folder;
use super::harness::{Deployment, answer};
use crate::harness::cluster;
use crate::harness::provider::API_KEY;

const PASSWORD: &str = "s3cr3t-of-the-database";

fn settings(values: &[(&str, &str)]) -> Vec<(String, String)> {
    values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn an_empty_database_is_migrated_once() {
    let deployment = Deployment::on(&cluster::clone_of("template0").await, &[]);
    let status = deployment.kijko(&["migrate", "status"]).await.exits(1);
    assert!(status.contains("behind") && status.contains("foundation"), "what is missing is listed: {status}");
    assert_eq!(deployment.kijko(&["migrate", "status", "--json"]).await.json(1)["state"], "behind");
    let doctor = deployment.kijko(&["doctor"]).await.exits(1);
    assert!(doctor.contains("kijko migrate up"), "the doctor says what to do: {doctor}");

    let refused = answer("kijko-http", &[], &deployment.with(&[])).await.exits(69);
    assert!(refused.contains("behind") && refused.contains("kijko migrate up"), "{refused}");
    let refused = deployment.kijko(&["worker"]).await.exits(69);
    assert!(refused.contains("kijko migrate up"), "{refused}");

    let up = deployment.kijko(&["migrate", "up"]).await.exits(0);
    assert!(up.contains("applied") && up.contains("foundation"), "what was done is listed: {up}");
    assert!(deployment.kijko(&["migrate", "up"]).await.exits(0).contains("up to date"));
    assert_eq!(deployment.kijko(&["migrate", "up", "--json"]).await.json(0), json!({ "state": "current" }));
    assert!(deployment.kijko(&["migrate", "status"]).await.exits(0).contains("up to date"));
    assert_eq!(deployment.kijko(&["--json", "migrate", "status"]).await.json(0), json!({ "state": "current" }));
    deployment.kijko(&["doctor"]).await.exits(0);
    deployment.server(&[]).await.stop().await;
}

#[tokio::test]
async fn a_newer_or_foreign_database_is_left_alone() {
    let deployment = Deployment::new(&[]).await;
    deployment
        .sql(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'of tomorrow', true, '\\x00', 0)",
        )
        .await;
    for args in [&["migrate", "status"], &["migrate", "up"]] {
        let text = deployment.kijko(args).await.exits(1);
        assert!(text.contains("newer Kijko") && text.contains("9999"), "{text}");
    }
    let refused = answer("kijko-http", &[], &deployment.with(&[])).await.exits(69);
    assert!(refused.contains("newer Kijko"), "{refused}");

    deployment.sql("DELETE FROM _sqlx_migrations WHERE version = 9999").await;
    deployment.sql("UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 1").await;
    assert_eq!(
        deployment.kijko(&["migrate", "up", "--json"]).await.json(1),
        json!({ "state": "changed", "version": 1 })
    );
}

#[tokio::test]
async fn the_configuration_is_checked_as_a_whole() {
    let bad = settings(&[
        ("KIJKO_ENV", "ai"),
        ("PORT", "70000"),
        ("CORS_ORIGINS", "*"),
        ("JOB_CONCURRENCY", "many"),
        ("EXECUTION_LEASE_SECS", "1"),
        ("ANTHROPIC_API_KEY", API_KEY),
    ]);
    let names = [
        "PORT",
        "CORS_ORIGINS",
        "JOB_CONCURRENCY",
        "EXECUTION_LEASE_SECS",
        "DATABASE_URL",
        "ENCRYPTION_KEY",
        "API_KEY_PEPPER",
    ];
    let commands = [("kijko", &["config", "check"][..], 1), ("kijko-http", &[], 78), ("kijko", &["doctor"], 78)];
    for (binary, args, code) in commands {
        let text = answer(binary, args, &bad).await.exits(code);
        for name in names {
            assert!(text.contains(name), "{binary} {args:?} must name {name}, and every other problem:\n{text}");
        }
        assert!(!text.contains(API_KEY), "a secret is printed:\n{text}");
    }
    let refused = answer("kijko", &["config", "check", "--json"], &bad).await.json(1);
    assert_eq!(refused["code"], "INVALID_CONFIGURATION");
    assert!(refused["problems"].as_array().unwrap().len() >= names.len(), "{refused}");
}

#[tokio::test]
async fn the_configuration_in_force_is_shown_without_its_secrets() {
    let url = format!("postgres://kijko_app:{PASSWORD}@127.0.0.1:1/kijko");
    let good = settings(&[("DATABASE_URL", &url), ("ANTHROPIC_API_KEY", API_KEY), ("JWT_SIGNING_KEY", PASSWORD)]);
    let text = answer("kijko", &["config", "check"], &good).await.exits(0);
    assert!(text.contains("JOB_CONCURRENCY") && text.contains("(default)"), "{text}");
    let shown = answer("kijko", &["config", "check", "--json"], &good).await.json(0);
    let key = shown.as_array().unwrap().iter().find(|setting| setting["name"] == "ANTHROPIC_API_KEY").unwrap();
    assert_eq!((&key["value"], &key["origin"]), (&json!("••••••"), &json!("environment")));
    for text in [text, shown.to_string()] {
        assert!(!text.contains(API_KEY) && !text.contains(PASSWORD), "a secret is printed:\n{text}");
    }
}

#[tokio::test]
async fn the_doctor_says_in_plain_words_which_table_is_open() {
    let deployment = Deployment::new(&[]).await;
    let healthy = deployment.kijko(&["doctor"]).await.exits(0);
    assert!(healthy.contains("in order"), "{healthy}");
    deployment.sql("ALTER TABLE skills NO FORCE ROW LEVEL SECURITY").await;
    let text = deployment.kijko(&["doctor"]).await.exits(1);
    let line = text.lines().find(|line| line.contains("WRONG")).expect("something is wrong");
    assert!(line.contains("row-level security") && line.contains("skills"), "{text}");
    let findings = deployment.kijko(&["doctor", "--json"]).await.json(1);
    let wrong: Vec<&Value> = findings.as_array().unwrap().iter().filter(|finding| finding["ok"] == false).collect();
    assert_eq!((wrong.len(), &wrong[0]["subject"]), (1, &json!("policies")), "{findings:#}");
    let server = deployment.server(&[]).await;
    assert_eq!(server.nobody().get("/health/ready").await.status, 503, "a server on such a database is not ready");
}

#[tokio::test]
async fn what_is_missing_is_named_and_no_secret_with_it() {
    let folder = folder();
    let url = format!("postgres://kijko_app:{PASSWORD}@127.0.0.1:1/kijko");
    let unreachable = settings(&[("DATABASE_URL", &url), ("ANTHROPIC_API_KEY", API_KEY)]);
    let odd = format!("mysql://kijko_app:{PASSWORD}@127.0.0.1/kijko");
    let odd = settings(&[("DATABASE_URL", &odd)]);
    let data_dir = folder.path().join("data");
    let without_programs =
        settings(&[("KIJKO_DATA_DIR", data_dir.to_str().unwrap()), ("POSTGRES_BIN_DIR", "/nonexistent")]);
    for (settings, hint) in [(&unreachable, "refused"), (&odd, "DATABASE_URL"), (&without_programs, "/nonexistent")] {
        for (binary, args, code) in [
            ("kijko-http", &[][..], 69),
            ("kijko", &["worker"], 69),
            ("kijko", &["migrate", "up"], 69),
            ("kijko", &["migrate", "status"], 69),
            ("kijko", &["doctor"], 1),
        ] {
            let text = answer(binary, args, settings).await.exits(code);
            assert!(text.contains(hint), "{binary} {args:?} must speak of {hint}:\n{text}");
            assert!(!text.contains(PASSWORD) && !text.contains(API_KEY), "a secret is printed:\n{text}");
        }
        assert_eq!(answer("kijko", &["migrate", "status", "--json"], settings).await.json(69)["code"], "CANNOT_START");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_before_anything_else() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let url = format!("postgres://kijko_app:{PASSWORD}@127.0.0.1:1/kijko");
    let text = answer("kijko-http", &["--port", &port], &settings(&[("DATABASE_URL", &url)])).await.exits(69);
    assert!(text.contains("Cannot listen on") && text.contains(&port), "{text}");
}
