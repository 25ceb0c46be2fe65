//! What is old goes by itself, after the time that docs/operations.md names and not before.

use crate::harness::Installation;

#[tokio::test]
async fn what_is_old_goes_and_what_is_younger_stays() {
    let app = Installation::new().await;
    // The same moment for every row: `now()` of the database is not the installation's.
    let age = |column: &str, days: f64| format!("now() - interval '{days} days' AS {column}");
    for (name, days) in [("old", 90.2), ("young", 89.8)] {
        app.sql(&format!(
            "INSERT INTO login_history (id, status, auth_method, failure_reason, ip, user_agent, created_at)
             SELECT gen_random_uuid(), 'failed', 'password', 'Unknown account', '192.0.2.1', '{name}', {}",
            age("at", days)
        ))
        .await;
    }
    for (attempts, days) in [(1, 30.2), (2, 29.8)] {
        app.sql(&format!(
            "INSERT INTO mail_outbox (id, attempts, created_at, dead_at)
             SELECT gen_random_uuid(), {attempts}, now() - interval '40 days', {}",
            age("at", days)
        ))
        .await;
    }
    for (sid, days) in [("old", 1.2), ("young", 0.8)] {
        app.sql(&format!(
            "INSERT INTO realm_sessions (session_id, sid, expires_at) SELECT gen_random_uuid(), '{sid}', {}",
            age("at", days)
        ))
        .await;
    }
    app.run_jobs().await;
    for (table, young) in [
        ("login_history", "user_agent = 'young'"),
        ("mail_outbox", "attempts = 2"),
        ("realm_sessions", "sid = 'young'"),
    ] {
        assert_eq!(app.count(table).await, 1, "{table}: the old row goes");
        assert_eq!(app.count(&format!("{table} WHERE {young}")).await, 1, "{table}: the young one stays");
    }
}
