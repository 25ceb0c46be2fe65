//! The schema: the engine's migrations first, then ours. Only the owner runs them, never a request.

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::error::{Error, Result};
use crate::ports::MigrationState;

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations");

/// The schema that the job engine makes for itself.
pub(crate) const ENGINE_SCHEMA: &str = "graphile_worker";
/// How many migrations the engine of this version brings; a test compares it with the engine itself.
const ENGINE_MIGRATIONS: i32 = 22;

/// One migration as the database knows it.
#[derive(sqlx::FromRow)]
struct Applied {
    version: i64,
    checksum: Vec<u8>,
}

/// Brings the database to the schema of this program; doing it twice changes nothing.
pub(crate) async fn up(owner: &PgConnectOptions) -> Result<()> {
    let failed = |e: sqlx::Error| Error::internal("migrating", e);
    let pool = PgPoolOptions::new().max_connections(2).connect_with(owner.clone()).await.map_err(failed)?;
    let engine = graphile_worker::WorkerUtils::new(pool.clone(), ENGINE_SCHEMA).migrate().await;
    engine.map_err(|e| Error::internal("migrating the job engine", e))?;
    pool.close().await;
    let mut conn = owner.connect().await.map_err(failed)?;
    MIGRATOR.run_direct(None, &mut conn, false).await.map_err(|e| Error::internal("migrating", e))?;
    conn.close().await.map_err(failed)
}

/// How the database stands beside this program. `conn` must be allowed to read both lists of migrations.
pub(crate) async fn state(conn: &mut PgConnection) -> Result<MigrationState, sqlx::Error> {
    let exists = "SELECT to_regclass('public._sqlx_migrations') IS NOT NULL
                     AND to_regclass('graphile_worker.migrations') IS NOT NULL";
    if !sqlx::query_scalar::<_, bool>(exists).fetch_one(&mut *conn).await? {
        return Ok(never_run());
    }
    let applied: Vec<Applied> =
        sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version")
            .fetch_all(&mut *conn)
            .await?;
    let engine: i32 = sqlx::query_scalar("SELECT coalesce(max(id), 0)::int FROM graphile_worker.migrations")
        .fetch_one(&mut *conn)
        .await?;
    Ok(compare(&applied, engine))
}

/// The state of a database that has nothing of ours, not even the roles.
pub(crate) fn never_run() -> MigrationState {
    MigrationState::Behind(names(|_| true))
}

fn compare(applied: &[Applied], engine: i32) -> MigrationState {
    let ahead: Vec<i64> = applied.iter().map(|a| a.version).filter(|v| !MIGRATOR.version_exists(*v)).collect();
    if !ahead.is_empty() || engine > ENGINE_MIGRATIONS {
        return MigrationState::Ahead(ahead);
    }
    let changed = MIGRATOR.iter().find(|m| applied.iter().any(|a| a.version == m.version && a.checksum != *m.checksum));
    if let Some(changed) = changed {
        return MigrationState::Changed(changed.version);
    }
    let mut missing = names(|version| !applied.iter().any(|a| a.version == version));
    if engine < ENGINE_MIGRATIONS {
        missing.push(format!("job engine {engine} of {ENGINE_MIGRATIONS}"));
    }
    if missing.is_empty() { MigrationState::Current } else { MigrationState::Behind(missing) }
}

fn names(wanted: impl Fn(i64) -> bool) -> Vec<String> {
    let ours = MIGRATOR.iter().filter(|m| wanted(m.version));
    ours.map(|m| format!("{:04} {}", m.version, m.description)).collect()
}
