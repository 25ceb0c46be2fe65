//! Whoever guesses passwords is slowed down, account by account, and learns nothing of which accounts exist. Here the
//! rate limits are off: the lock is about accounts, and always on.

use serde_json::{Value, json};

use crate::harness::{Installation, PASSWORD, Reply, eventually};

const ADA: &str = "ada@example.com";
const WRONG: &str = "wrongpass1";

async fn sign_in(app: &Installation, email: &str, password: &str) -> Reply {
    app.nobody().post("/api/v1/auth/login", json!({ "email": email, "password": password })).await
}

async fn fail(app: &Installation, email: &str, times: usize) {
    for _ in 0..times {
        sign_in(app, email, WRONG).await.refused(401, "INVALID_CREDENTIALS");
    }
}

/// Tries the right password, and gives the seconds that the account is locked for.
async fn locked_for(app: &Installation, email: &str) -> u64 {
    let reply = sign_in(app, email, PASSWORD).await;
    let wait: u64 = reply.header("retry-after").expect("a lock says for how long").parse().expect("seconds");
    assert_eq!(reply.refused(429, "ACCOUNT_LOCKED")["details"], json!({ "retryAfter": wait }));
    wait
}

#[tokio::test]
async fn the_fifth_wrong_password_locks_the_account_for_a_minute() {
    let app = Installation::new().await;
    app.sign_up(ADA).await;
    fail(&app, ADA, 4).await;
    sign_in(&app, ADA, PASSWORD).await.ok(200);
    fail(&app, ADA, 5).await;
    assert_eq!(locked_for(&app, ADA).await, 60);
    app.advance(59);
    assert_eq!(locked_for(&app, "ADA@example.com").await, 1, "however the address is written");
    app.sign_up("bob@example.com").await;
    sign_in(&app, "bob@example.com", PASSWORD).await.ok(200);
    app.advance(1);
    sign_in(&app, ADA, PASSWORD).await.ok(200);
    fail(&app, ADA, 4).await;
    sign_in(&app, ADA, PASSWORD).await.ok(200);
    assert_eq!(app.count("login_locks").await, 0, "the right password clears the count");
}

#[tokio::test]
async fn the_lock_doubles_up_to_an_hour_and_is_forgotten_after_a_day() {
    let app = Installation::new().await;
    app.sign_up(ADA).await;
    fail(&app, ADA, 4).await;
    for seconds in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
        fail(&app, ADA, 1).await;
        assert_eq!(locked_for(&app, ADA).await, seconds);
        app.advance(i64::try_from(seconds).unwrap());
    }
    app.advance(86_400);
    fail(&app, ADA, 4).await;
    sign_in(&app, ADA, PASSWORD).await.ok(200);
}

#[tokio::test]
async fn an_address_without_an_account_is_locked_just_the_same() {
    let app = Installation::new().await;
    app.sign_up(ADA).await;
    let mut replies: Vec<Vec<Value>> = Vec::new();
    for email in [ADA, "nobody@example.com"] {
        let mut of_one = Vec::new();
        for n in 0..8 {
            let reply = sign_in(&app, email, if n == 7 { PASSWORD } else { WRONG }).await;
            let retry_after = reply.header("retry-after").map(str::to_owned);
            let mut body = reply.body;
            body["requestId"] = json!("the same");
            of_one.push(json!([body, retry_after]));
        }
        replies.push(of_one);
    }
    assert_eq!(replies[0], replies[1]);
    assert_eq!(replies[0][5][0]["code"], "ACCOUNT_LOCKED");
    let hashes = app.count("login_locks WHERE octet_length(account_hash) = 32").await;
    assert_eq!((hashes, app.count("login_locks l WHERE l::text LIKE '%example%'").await), (2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn wrong_passwords_at_the_same_time_are_all_counted() {
    let app = Installation::new().await;
    let attempts = (0..20).map(|_| {
        let nobody = app.nobody();
        async move { nobody.post("/api/v1/auth/login", json!({ "email": ADA, "password": WRONG })).await }
    });
    let counts = super::crowd(attempts).await;
    let refused = |status| counts.iter().find(|(found, _)| *found == status).map_or(0, |(_, count)| *count);
    assert_eq!(refused(401) + refused(429), 20, "{counts:?}");
    assert!(refused(401) >= 5, "{counts:?}");
    let counted = app.count(&format!("login_locks WHERE failures = {}", refused(401))).await;
    assert_eq!(counted, 1, "every wrong password that was looked at counts once: {counts:?}");
}

#[tokio::test]
async fn what_is_forgotten_leaves_the_database() {
    let app = Installation::new().await;
    fail(&app, ADA, 1).await;
    app.advance(86_399);
    app.run_jobs().await;
    assert_eq!(app.count("login_locks").await, 1);
    app.advance(2);
    app.run_jobs().await;
    assert_eq!(app.count("login_locks").await, 0);
}

/// Status, reason, whether it is somebody's, and the address, of every attempt.
async fn history(app: &Installation) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', status, coalesce(failure_reason, '-'), auth_method, user_id IS NOT NULL,
                                organization_id IS NOT NULL, host(ip), user_agent) FROM login_history ORDER BY 1";
    sqlx::query_scalar(sql).fetch_all(&app.superuser).await.expect("the superuser sees all")
}

#[tokio::test]
async fn every_attempt_that_was_looked_at_is_remembered_with_where_it_came_from() {
    let app = Installation::new().await;
    app.sign_up(ADA).await;
    sign_in(&app, ADA, PASSWORD).await.ok(200);
    sign_in(&app, "nobody@example.com", PASSWORD).await.refused(401, "INVALID_CREDENTIALS");
    fail(&app, ADA, 5).await;
    locked_for(&app, ADA).await;
    app.sql("UPDATE users SET disabled_at = now()").await;
    app.advance(60);
    sign_in(&app, ADA, PASSWORD).await.refused(403, "ACCOUNT_DISABLED");
    eventually("all are written", async || app.count("login_history").await == 10).await;
    let mut expected = vec![
        "blocked Account disabled password t t 192.0.2.1",
        "blocked Account locked password t t 192.0.2.1",
        "failed Unknown account password f f 192.0.2.1",
        "success - password t t 192.0.2.1",
        "success - password t t 192.0.2.1",
    ];
    expected.extend(["failed Invalid password password t t 192.0.2.1"; 5]);
    expected.sort_unstable();
    assert_eq!(history(&app).await, expected);
    eventually("failures are in the audit log", async || {
        app.count("audit_logs WHERE event_type = 'security.login_failed' AND host(ip_address) = '192.0.2.1'").await == 7
    })
    .await;
}

#[tokio::test]
async fn sessions_and_audit_entries_say_where_they_came_from() {
    let app = Installation::with(&[("TRUSTED_PROXIES", "10.0.0.0/8")]).await;
    let behind = app.nobody().at("10.0.0.1");
    app.sign_up(ADA).await;
    let body = json!({ "email": ADA, "password": PASSWORD }).to_string();
    let request = axum::http::Request::post("/api/v1/auth/login")
        .header("content-type", "application/json")
        .header("x-forwarded-for", "2001:db8::7")
        .header("user-agent", "x".repeat(2000));
    let tokens = behind.send(request.body(axum::body::Body::from(body)).unwrap()).await.ok(200);
    assert_eq!(app.count("user_sessions WHERE ip = '2001:db8::7' AND length(user_agent) = 500").await, 1);
    assert_eq!(app.count("audit_logs WHERE event_type = 'user.login' AND ip_address = '2001:db8::7'").await, 1);
    assert_eq!(app.count("login_history WHERE ip = '2001:db8::7' AND length(user_agent) = 500").await, 1);

    let ada = app.with_token(tokens["access_token"].as_str().unwrap()).at("198.51.100.4");
    let new = json!({ "name": "Script", "expiration": "never", "scopes": ["read"] });
    ada.post("/api/v1/security/api-keys", new).await.ok(201);
    assert_eq!(
        app.count("audit_logs WHERE event_type = 'security.api_key_created' AND ip_address = '198.51.100.4'").await,
        1,
        "what a member does says it too"
    );
}
