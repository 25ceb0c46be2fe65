//! Whether the server lives, and whether it can work. snake_case, as probes expect.

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use kijko_core::App;
use kijko_core::services::health::{self, DatabaseHealth, Info, Liveness, Readiness, RedisHealth, SecretsHealth};
use serde::Serialize;

use crate::problem::Reply;

#[derive(Serialize, utoipa::ToSchema)]
pub struct Root {
    name: &'static str,
    version: &'static str,
    docs: &'static str,
    health: &'static str,
}

/// What this is
#[utoipa::path(get, path = "/", tag = "health", security(()), responses((status = 200, body = Root)))]
pub async fn root() -> Body<Root> {
    Body(Root { name: "Kijko API", version: health::VERSION, docs: "/docs", health: "/health" })
}

/// Whether the process lives; touches nothing
#[utoipa::path(get, path = "/health", tag = "health", security(()), responses((status = 200, body = Liveness)))]
pub async fn live() -> Body<Liveness> {
    Body(health::liveness())
}

/// The same as `/health`
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, body = Liveness)))]
pub async fn live_alias() -> Body<Liveness> {
    Body(health::liveness())
}

/// Whether the server can work: 503 when it cannot, or is shutting down
#[utoipa::path(get, path = "/health/ready", tag = "health", security(()),
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub async fn ready(State(app): State<App>) -> (StatusCode, Body<Readiness>) {
    let readiness = health::readiness(&app).await;
    (status(readiness.status), Body(readiness))
}

/// The database alone
#[utoipa::path(get, path = "/healthz/db", tag = "health", security(()),
    responses((status = 200, body = DatabaseHealth), (status = 503, body = DatabaseHealth)))]
pub async fn database(State(app): State<App>) -> (StatusCode, Body<DatabaseHealth>) {
    let health = health::database(&app).await;
    (status(health.status), Body(health))
}

/// Redis alone: 503 when one is configured and does not answer, though the service goes on without it
#[utoipa::path(get, path = "/healthz/redis", tag = "health", security(()),
    responses((status = 200, body = RedisHealth), (status = 503, body = RedisHealth)))]
pub async fn redis(State(app): State<App>) -> (StatusCode, Body<RedisHealth>) {
    let health = health::redis(&app).await;
    (status(health.status), Body(health))
}

/// The secrets alone: whether they could be read again. Names, never values
#[utoipa::path(get, path = "/healthz/vault", tag = "health", security(()),
    responses((status = 200, body = SecretsHealth), (status = 503, body = SecretsHealth)))]
pub async fn secrets(State(app): State<App>) -> Reply<(StatusCode, Body<SecretsHealth>)> {
    let health = health::secrets(&app).await?;
    Ok((status(health.status), Body(health)))
}

/// Which version this is, and what is switched on
#[utoipa::path(get, path = "/info", tag = "health", security(()), responses((status = 200, body = Info)))]
pub async fn info(State(app): State<App>) -> Body<Info> {
    Body(health::info(&app))
}

fn status(health: &str) -> StatusCode {
    if health == "unhealthy" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}
