//! Probes tell the truth: alive is not ready, and ready means that the work can be done.

use kijko_core::testing::FixedClock;
use serde_json::json;

use crate::harness::{Installation, cluster};

#[tokio::test]
async fn probes_answer_as_documented() {
    let app = Installation::new().await;
    let nobody = app.nobody();
    let version = env!("CARGO_PKG_VERSION");
    let alive = json!({ "status": "healthy", "version": version });
    assert_eq!(nobody.get("/health").await.ok(200), alive);
    assert_eq!(nobody.get("/healthz").await.ok(200), alive);
    assert_eq!(nobody.get("/healthz/").await.ok(200), alive, "a slash changes nothing");
    let root = json!({ "name": "Kijko API", "version": version, "docs": "/docs", "health": "/health" });
    assert_eq!(nobody.get("/").await.ok(200), root);
    assert_eq!(nobody.get("/").await.header("content-type"), Some("application/json; charset=utf-8"));
    nobody.call("HEAD".parse().unwrap(), "/health", None).await.ok(200);
    nobody.call("HEAD".parse().unwrap(), "/api/v1/skills", None).await.ok(401);

    let database = nobody.get("/healthz/db").await.ok(200);
    assert_eq!((&database["migrations"], &database["rls"]), (&json!("current"), &json!("enforced")));
    let ready = nobody.get("/health/ready").await.ok(200);
    assert_eq!((&ready["status"], &ready["checks"]["database"]["status"]), (&json!("healthy"), &json!("healthy")));
    assert_eq!(ready["checks"]["auth"], json!({ "status": "healthy", "mode": "builtin" }));
    assert_eq!(ready["checks"]["redis"]["status"], "disabled");
    assert_eq!(ready["checks"]["jobs"]["dead"], 0);

    let info = nobody.get("/info").await.ok(200);
    assert_eq!((&info["environment"], &info["auth_mode"]), (&json!("local"), &json!("builtin")));
    assert!(info["features"].as_object().unwrap().values().all(|flag| flag.is_boolean()), "booleans only: {info}");
}

#[tokio::test]
async fn secrets_that_could_not_be_read_again_are_named() {
    let app = Installation::new().await;
    let health = json!({ "status": "healthy", "source": "env", "missing": [] });
    assert_eq!(app.nobody().get("/healthz/vault").await.ok(200), health);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "sk-very-secret\n").unwrap();
    let app = Installation::with(&[("ANTHROPIC_API_KEY_FILE", file.to_str().unwrap())]).await;
    let health = json!({ "status": "healthy", "source": "files", "missing": [] });
    assert_eq!(app.nobody().get("/healthz/vault").await.ok(200), health);
    std::fs::write(&file, "\n").unwrap();
    let health = json!({ "status": "unhealthy", "source": "files", "missing": ["ANTHROPIC_API_KEY"] });
    assert_eq!(app.nobody().get("/healthz/vault").await.ok(503), health);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(app.nobody().get("/healthz/vault").await.ok(503), health);
    app.nobody().get("/health/ready").await.ok(200);
}

#[tokio::test]
async fn a_table_without_forced_policies_makes_the_server_unready() {
    let app = Installation::new().await;
    app.sql("ALTER TABLE skills NO FORCE ROW LEVEL SECURITY").await;
    assert_eq!(app.nobody().get("/healthz/db").await.ok(503)["rls"], "not_enforced");
    app.nobody().get("/health/ready").await.ok(503);
    app.nobody().get("/health").await.ok(200);
}

#[tokio::test]
async fn a_server_that_is_shutting_down_is_alive_but_not_ready() {
    let app = Installation::new().await;
    app.app.drain();
    assert_eq!(app.nobody().get("/health/ready").await.ok(503)["status"], "unhealthy");
    app.nobody().get("/health").await.ok(200);
}

#[tokio::test]
async fn every_reply_carries_the_hardening_headers() {
    let local = Installation::new().await;
    let shared = Installation::with(&[("KIJKO_ENV", "cfy")]).await;
    for path in ["/health", "/api/v1/skills", "/nothing", "/docs/", "/redoc", "/openapi.json"] {
        let reply = local.nobody().get(path).await;
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(reply.header("strict-transport-security"), None, "a machine of one's own has no certificate");
        let reply = shared.nobody().get(path).await;
        assert!(reply.header("strict-transport-security").is_some(), "{path}");
    }
}

#[tokio::test]
async fn the_documentation_loads_nothing_from_elsewhere() {
    let app = Installation::new().await;
    for path in ["/docs/", "/redoc"] {
        let page = app.nobody().get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.text.contains("src=\"http") && !page.text.contains("href=\"http"), "{path}: {}", page.text);
    }
    let script = app.nobody().get("/redoc/redoc.js").await;
    assert_eq!((script.status.as_u16(), script.header("content-encoding")), (200, Some("gzip")));
    assert_eq!(app.nobody().get("/openapi.json").await.ok(200), kijko_http::document());

    let closed = Installation::with(&[("DOCS_ENABLED", "false")]).await;
    for path in ["/docs/", "/redoc", "/openapi.json"] {
        closed.nobody().get(path).await.refused(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn a_server_needs_no_more_than_its_login_role() {
    let database = cluster::fresh_database().await;
    let url = cluster::url("kijko_app", &database);
    let key = ("ENCRYPTION_KEY", "a2lqa28gdGVzdHMgdXNlIHRoaXMga2V5IDEyMzQ1Njc=");
    let config = kijko_core::Config::from_values(&[("DATABASE_URL", &url), key]).unwrap();
    let app = kijko_core::testing::connect(config, FixedClock::starting_now(), std::sync::Arc::default())
        .await
        .expect("it starts");
    app.close().await;
}
