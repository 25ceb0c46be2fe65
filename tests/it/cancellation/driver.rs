//! What the driver does without our guard, and that the guard is enough.

use sqlx::postgres::PgPoolOptions;

use super::*;
use crate::harness::{cluster, eventually};

/// Fails on the day when sqlx no longer leaks (transact-rs/sqlx #4394 is released): `begin` and `commit` in
/// adapters/postgres/tx.rs need no task of their own then.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the point is what happens without adapters/postgres/tx.rs")]
async fn the_guard_is_needed_because_sqlx_leaks_a_begin_that_is_dropped() {
    const TRIES: usize = 50;
    const CONTEXT: &str = "SELECT coalesce(current_setting('app.current_org_id', true), '')";
    let app = Installation::new().await;
    let organization = app.owner().await.organization_id();
    let options = cluster::options("kijko_app", &app.database);
    let pool = PgPoolOptions::new().max_connections(1).test_before_acquire(false).connect_lazy_with(options);
    drop(pool.acquire().await.expect("the first connection"));
    let mut leaked = 0;
    for _ in 0..TRIES {
        // Then the first poll sends `BEGIN` and waits for nothing else.
        eventually("the connection is back", async || pool.num_idle() == 1).await;
        let context = format!("BEGIN; SET LOCAL ROLE kijko_tenant; SET LOCAL app.current_org_id = '{organization}'");
        drop(poll_times(pool.begin_with(sqlx::AssertSqlSafe(context)), 1, Moment::Asked).await);

        let mut next = pool.acquire().await.expect("the connection");
        let seen: String = sqlx::query_scalar(CONTEXT).fetch_one(&mut *next).await.expect("an answer");
        leaked += usize::from(seen == organization);
        drop(next);
        kijko_core::testing::open_and_commit(&pool).await.expect("a unit of work, whatever was left");
        let mut next = pool.acquire().await.expect("a connection");
        let seen: String = sqlx::query_scalar(CONTEXT).fetch_one(&mut *next).await.expect("an answer");
        assert_eq!(
            seen, "",
            "a unit of work went on in a transaction that was left open: mend `begin` in adapters/postgres/tx.rs"
        );
    }
    eprintln!("a dropped BEGIN left its transaction, and its tenant, to the next in {leaked} of {TRIES} tries");
    assert!(leaked > 0, "sqlx is cured: simplify `begin` and `commit` in adapters/postgres/tx.rs and drop this test");
}
