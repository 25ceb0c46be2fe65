//! How the database stands: schema, row security, roles.

use sqlx::PgPool;

use super::errors::translate;
use super::migrations;
use super::tx::PgSystemTx;
use crate::error::Result;
use crate::ports::StoreHealth;

pub(super) async fn check(tx: &mut PgSystemTx) -> Result<StoreHealth> {
    let migrations = migrations::state(tx.conn()).await.map_err(translate)?;
    let unguarded_tables = sqlx::query_scalar!(
        r#"SELECT c.relname::text AS "name!" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relname <> '_sqlx_migrations'
              AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
            ORDER BY c.relname"#
    )
    .fetch_all(tx.conn())
    .await
    .map_err(translate)?;
    Ok(StoreHealth { migrations, unguarded_tables })
}

/// Whether the role that logs in there could read past the policies.
pub(super) async fn bypasses_policies(pool: &PgPool) -> Result<bool> {
    sqlx::query_scalar!(r#"SELECT rolsuper OR rolbypassrls AS "bypasses!" FROM pg_roles WHERE rolname = session_user"#)
        .fetch_one(pool)
        .await
        .map_err(translate)
}
