//! The database keeps the tenants apart by itself, whatever the program above it does. These tests watch that it can:
//! the rules that every table obeys (`tables`, `structure`, `roles`), which schema a program accepts (`versions`), what
//! the policies cost (`plans`), who may do what to whose rows (`matrix`, filled by `attempts` on the rows of `fixtures`),
//! and that the matrix notices when a policy is weakened (`mutants`).

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use tokio::sync::OnceCell;

use crate::harness::cluster;

mod attempts;
mod fixtures;
mod matrix;
mod mutants;
mod plans;
mod roles;
mod structure;
mod tables;
mod versions;

/// The tables of ours, as a condition on `pg_class c`. The list of migrations is sqlx's.
const OURS: &str = "c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') \
                    AND c.relname <> '_sqlx_migrations'";

/// A connection that sees and may do everything.
async fn superuser(database: &str) -> PgConnection {
    cluster::options("postgres", database).connect().await.expect("the superuser may always come in")
}

/// Every row of every statement, each column as text and NULL as nothing. May fail.
async fn attempt(conn: &mut PgConnection, sql: impl Into<String>) -> Result<Vec<Vec<String>>, sqlx::Error> {
    let rows = sqlx::raw_sql(AssertSqlSafe(sql.into())).fetch_all(conn).await?;
    let text = |row: &PgRow, i: usize| row.get_unchecked::<Option<String>, _>(i).unwrap_or_default();
    Ok(rows.iter().map(|row| (0..row.len()).map(|i| text(row, i)).collect()).collect())
}

/// The first column of every row, as text.
async fn texts(conn: &mut PgConnection, sql: impl Into<String>) -> Vec<String> {
    let sql = sql.into();
    let rows = attempt(conn, sql.clone()).await.unwrap_or_else(|e| panic!("{e}: {sql}"));
    rows.into_iter().map(|mut row| row.swap_remove(0)).collect()
}

/// What the catalogue of a migrated database says, as one text per row. Read only: the database is shared.
async fn catalogue(sql: impl Into<String>) -> Vec<String> {
    static DATABASE: OnceCell<String> = OnceCell::const_new();
    let database = DATABASE.get_or_init(cluster::fresh_database).await;
    texts(&mut superuser(database).await, sql).await
}

/// The query finds whatever breaks a rule, so it must find nothing; `cure` says what to do otherwise.
async fn nothing(sql: impl Into<String>, cure: &str) {
    let found = catalogue(sql).await;
    assert!(found.is_empty(), "{cure}:\n  {}", found.join("\n  "));
}

/// What the query finds must be exactly what is named, with a reason, in the list called `list`.
async fn exactly(sql: impl Into<String>, named: &[(&str, &str)], list: &str, cure: &str) {
    let found = catalogue(sql).await;
    let unnamed: Vec<_> = found.iter().filter(|name| !named.iter().any(|(known, _)| known == name)).collect();
    assert!(unnamed.is_empty(), "{cure}, or name it in {list} with a reason: {unnamed:?}");
    let stale: Vec<_> = named.iter().filter(|(known, _)| !found.iter().any(|name| name == known)).collect();
    assert!(stale.is_empty(), "{list} names what is no exception any more; remove: {stale:?}");
}
