//! How this process and what it needs are doing. Tells classes of trouble, never addresses.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::domain::skills::DEFAULT_MODEL;
use crate::error::{Code, Error, Result};
use crate::ports::{MigrationState, StoreHealth};

/// What one look at the database found.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DatabaseHealth {
    /// `healthy` or `unhealthy`.
    pub status: &'static str,
    pub latency_ms: u64,
    /// `current` or `pending`.
    pub migrations: &'static str,
    /// `enforced` or `not_enforced`.
    pub rls: &'static str,
}

/// What one look at Redis found.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RedisHealth {
    /// `healthy`, `unhealthy`, or `disabled` where none is configured.
    pub status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
}

/// What one look at the secrets found.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SecretsHealth {
    /// `healthy` or `unhealthy`.
    pub status: &'static str,
    /// `files` when any secret came from one, else `env`.
    pub source: &'static str,
    /// Names of secrets that are required, or came from a file, and are not there.
    pub missing: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Liveness {
    pub status: &'static str,
    pub version: &'static str,
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Readiness {
    /// `healthy` or `unhealthy`.
    pub status: &'static str,
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, Object>))]
    pub checks: BTreeMap<&'static str, Check>,
    pub duration_ms: u64,
    pub version: &'static str,
}

/// One thing that was looked at, with its figures.
#[derive(Debug, Serialize)]
pub struct Check {
    status: &'static str,
    #[serde(flatten)]
    figures: serde_json::Value,
}

impl Check {
    fn new(status: &'static str) -> Self {
        Self { status, figures: json!({}) }
    }

    fn with(self, figures: serde_json::Value) -> Self {
        Self { figures, ..self }
    }
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Info {
    pub name: &'static str,
    pub version: &'static str,
    pub environment: &'static str,
    pub commit: &'static str,
    pub build_time: &'static str,
    pub uptime_seconds: u64,
    pub auth_mode: &'static str,
    pub features: Features,
}

/// What is switched on.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Features {
    pub stripe: bool,
    pub langfuse: bool,
    pub openmeter: bool,
    pub hypervisa: bool,
    pub ide: bool,
    pub mail: bool,
    pub vies: bool,
}

pub const VERSION: &str = env!("CARGO_PKG_VERSION");
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// Asks the database; an answer that takes longer than two seconds is none.
pub async fn database(app: &App) -> DatabaseHealth {
    let started = Instant::now();
    let health = within_limit(app.store.health()).await;
    let latency_ms = millis(started);
    match health {
        Ok(health) => DatabaseHealth {
            status: if is_healthy(&health) { "healthy" } else { "unhealthy" },
            latency_ms,
            migrations: if health.migrations == MigrationState::Current { "current" } else { "pending" },
            rls: if health.unguarded_tables.is_empty() { "enforced" } else { "not_enforced" },
        },
        Err(error) => {
            tracing::warn!(error = error.internal_text(), "the database does not answer the health check");
            DatabaseHealth { status: "unhealthy", latency_ms, migrations: "pending", rls: "not_enforced" }
        }
    }
}

/// Asks Redis, if there is one. Without it the process goes on, and counts for itself.
pub async fn redis(app: &App) -> RedisHealth {
    let started = Instant::now();
    let probe = async { app.limits.probe().await.transpose() };
    let status = match within_limit(probe).await {
        Ok(None) => return RedisHealth { status: "disabled", latency_ms: None },
        Ok(Some(())) => "healthy",
        Err(error) => {
            tracing::debug!(error = error.internal_text(), "Redis does not answer the health check");
            "unhealthy"
        }
    };
    RedisHealth { status, latency_ms: Some(millis(started)) }
}

/// Whether the secrets that this process started with could be read again.
pub async fn secrets(app: &App) -> Result<SecretsHealth> {
    let config = app.config.clone();
    let missing = tokio::task::spawn_blocking(move || config.missing_secrets());
    let missing = missing.await.map_err(|e| Error::internal("looking for secrets", e))?;
    let status = if missing.is_empty() { "healthy" } else { "unhealthy" };
    let source = if app.config.secret_files.is_empty() { "env" } else { "files" };
    Ok(SecretsHealth { status, source, missing })
}

/// Whether this process can do its work. Only the database, a configured Redis, and shutting down make it unready.
pub async fn readiness(app: &App) -> Readiness {
    let started = Instant::now();
    let (database, redis, jobs, keycloak) =
        tokio::join!(database(app), redis(app), within_limit(app.jobs.stats()), keycloak(app));
    let jobs = match jobs {
        Ok(stats) => {
            Check::new("healthy").with(json!({ "ready": stats.ready, "held": stats.held, "dead": stats.dead }))
        }
        Err(_) => Check::new("unhealthy"),
    };
    let can_run = app.models.route(DEFAULT_MODEL).and_then(|route| app.models.target(route)).is_ok();
    let model = match (app.models.catalogue().maps_the_default(), can_run) {
        // Its own id was retired by the provider, so that calls of it fail.
        (false, _) => "unmapped",
        (true, false) => "unconfigured",
        (true, true) => "healthy",
    };
    let is_ready = database.status == "healthy" && redis.status != "unhealthy" && !app.is_draining();
    let checks = BTreeMap::from([
        ("database", Check::new(database.status).with(json!({ "latency_ms": database.latency_ms }))),
        ("redis", Check::new(redis.status).with(redis.latency_ms.map_or(json!({}), |ms| json!({ "latency_ms": ms })))),
        ("auth", Check::new("healthy").with(json!({ "mode": app.config.identity.mode.as_str() }))),
        ("keycloak", keycloak),
        ("models", Check::new(model).with(json!({ "default_model": DEFAULT_MODEL }))),
        ("jobs", jobs),
    ]);
    let status = if is_ready { "healthy" } else { "unhealthy" };
    Readiness { status, checks, duration_ms: millis(started), version: VERSION }
}

/// Never unhealthy: who is signed in stays so while the realm is away, as long as its keys are known.
async fn keycloak(app: &App) -> Check {
    let Some(realm) = &app.realm else { return Check::new("disabled") };
    let health = realm.verifier.health().await;
    let status = if health.reachable { "healthy" } else { "degraded" };
    Check::new(status).with(json!({ "jwks_cached": health.keys_cached }))
}

pub fn liveness() -> Liveness {
    Liveness { status: "healthy", version: VERSION }
}

pub fn info(app: &App) -> Info {
    Info {
        name: "Kijko API",
        version: VERSION,
        environment: app.config.environment.as_str(),
        commit: option_env!("KIJKO_COMMIT").unwrap_or("unknown"),
        build_time: option_env!("KIJKO_BUILD_TIME").unwrap_or("unknown"),
        uptime_seconds: app.started.elapsed().as_secs(),
        auth_mode: app.config.identity.mode.as_str(),
        features: Features::default(),
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A newer schema is no reason to stop: during an upgrade the old processes go on until they are replaced.
fn is_healthy(health: &StoreHealth) -> bool {
    matches!(health.migrations, MigrationState::Current | MigrationState::Ahead(_))
        && health.unguarded_tables.is_empty()
}

async fn within_limit<T>(probe: impl Future<Output = Result<T>>) -> Result<T> {
    let slow = |e| Error::unavailable(Code::DependencyUnavailable, e);
    tokio::time::timeout(PROBE_LIMIT, probe).await.map_err(slow)?
}
