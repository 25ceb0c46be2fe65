//! One PostgreSQL for the whole test binary, private and thrown away; one database per test, cloned from a template.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use kijko_core::app::operations;
use kijko_core::testing::{EmbeddedOptions, EmbeddedPostgres};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tokio::runtime::Runtime;

const TEMPLATE: &str = "kijko_template";

struct Cluster {
    postgres: EmbeddedPostgres,
    admin: PgPool,
}

/// Outlives the runtime of any single test.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| block_on(start()));
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Runs something to its end, also from inside the runtime of a test.
pub fn block_on<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    std::thread::spawn(|| RUNTIME.block_on(work)).join().expect("it does not panic")
}

async fn start() -> Cluster {
    let data_dir = data_dir();
    let options = EmbeddedOptions { data_dir, bin_dir: None, max_connections: 400, fast_unsafe: true };
    let postgres = EmbeddedPostgres::start(&options).await.expect("PostgreSQL starts; `make test` installs it");
    let admin_options = connect_options(&postgres, "postgres", "postgres");
    let admin = PgPoolOptions::new().max_connections(2).connect_lazy_with(admin_options);
    for statement in ["CREATE ROLE kijko_owner LOGIN CREATEROLE", "CREATE DATABASE kijko_template OWNER kijko_owner"] {
        sqlx::query(statement).execute(&admin).await.expect("a fresh cluster has neither");
    }
    let url = |role| connection_url(&postgres, role, TEMPLATE);
    let (app, owner) = (url("kijko_app"), url("kijko_owner"));
    let values = [("DATABASE_URL", app.as_str()), ("DATABASE_OWNER_URL", owner.as_str())];
    let config = kijko_core::Config::from_values(&values).expect("valid");
    operations::migrate(&config).await.expect("the migrations run on an empty database");
    Cluster { postgres, admin }
}

/// Below the temporary directory, which any server user can reach. Those of earlier runs are removed.
fn data_dir() -> PathBuf {
    let base = std::env::temp_dir();
    for entry in std::fs::read_dir(&base).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("kijko-it-").and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()) {
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
    base.join(format!("kijko-it-{}", std::process::id()))
}

fn connect_options(postgres: &EmbeddedPostgres, role: &str, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host(&postgres.socket_dir().to_string_lossy())
        .port(postgres.port())
        .username(role)
        .database(database)
}

fn connection_url(postgres: &EmbeddedPostgres, role: &str, database: &str) -> String {
    let socket = postgres.socket_dir().to_string_lossy().replace('/', "%2F");
    format!("postgres://{role}@{socket}:{}/{database}", postgres.port())
}

pub fn options(role: &str, database: &str) -> PgConnectOptions {
    connect_options(&CLUSTER.postgres, role, database)
}

pub fn url(role: &str, database: &str) -> String {
    connection_url(&CLUSTER.postgres, role, database)
}

/// A migrated database that nobody else uses.
pub async fn fresh_database() -> String {
    clone_of(TEMPLATE).await
}

/// A copy of a database that nobody is connected to.
pub async fn clone_of(template: &str) -> String {
    let name = format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let statement = format!("CREATE DATABASE {name} TEMPLATE {template} OWNER kijko_owner STRATEGY file_copy");
    let admin = tokio::task::spawn_blocking(|| CLUSTER.admin.clone()).await.expect("the cluster starts");
    block_on_admin(admin, statement).await;
    name
}

/// On the cluster's own runtime, because its pool belongs there.
async fn block_on_admin(admin: PgPool, statement: String) {
    let work = async move {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&admin).await.expect("the cluster obeys");
    };
    tokio::task::spawn_blocking(|| block_on(work)).await.expect("it does not panic");
}
