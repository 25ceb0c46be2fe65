//! API keys. An API key cannot manage API keys; see `scopes.rs`.

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use kijko_core::App;
use kijko_core::domain::api_keys::{ApiKey, CreatedApiKey, NewApiKey};
use kijko_core::domain::ids::ApiKeyId;
use kijko_core::services::api_keys;
use serde::Deserialize;

use crate::extract::{Caller, Id, Json, Once, Query};
use crate::problem::{ProblemBody, Reply};

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ApiKeysQuery {
    /// Those of everybody in the organisation; for owners and administrators.
    all: Option<bool>,
}

/// Your API keys, newest first
#[utoipa::path(get, path = "/api/v1/security/api-keys", tag = "api-keys", params(ApiKeysQuery),
    responses((status = 200, body = Vec<ApiKey>), (status = "default", body = ProblemBody)))]
pub async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(query): Query<ApiKeysQuery>,
) -> Reply<Body<Vec<ApiKey>>> {
    Ok(Body(api_keys::list(&app, &ctx, query.all.unwrap_or(false)).await?))
}

/// Make an API key; the reply is the only place where it is shown
#[utoipa::path(post, path = "/api/v1/security/api-keys", tag = "api-keys", request_body = NewApiKey,
    params(("Idempotency-Key" = Option<String>, Header, description = "Asking again with the same key and body within \
        24 hours gets the same reply; another body is refused", max_length = 255)),
    responses((status = 201, body = CreatedApiKey), (status = "default", body = ProblemBody)))]
pub async fn create(
    State(app): State<App>,
    Caller(ctx): Caller,
    Once(key): Once,
    Json(new): Json<NewApiKey>,
) -> Reply<(StatusCode, Body<CreatedApiKey>)> {
    Ok((StatusCode::CREATED, Body(api_keys::create(&app, &ctx, new, key.as_ref()).await?)))
}

/// Revoke an API key, at once and everywhere
#[utoipa::path(delete, path = "/api/v1/security/api-keys/{id}", tag = "api-keys", params(("id" = ApiKeyId, Path)),
    responses((status = 204), (status = "default", body = ProblemBody)))]
pub async fn revoke(State(app): State<App>, Caller(ctx): Caller, Id(id): Id<ApiKeyId>) -> Reply<StatusCode> {
    api_keys::revoke(&app, &ctx, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
