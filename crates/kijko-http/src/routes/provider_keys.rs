//! An organisation's own keys for model providers. An API key cannot change them; see `scopes.rs`.

use axum::Json as Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use kijko_core::domain::models::Provider;
use kijko_core::domain::provider_keys::{NewProviderKey, ProviderKey};
use kijko_core::services::provider_keys;
use kijko_core::{App, Code, Error};
use serde::Serialize;

use crate::extract::{Caller, Json};
use crate::problem::{ProblemBody, Reply};

#[derive(Serialize, utoipa::ToSchema)]
pub struct ProviderKeys {
    keys: Vec<ProviderKey>,
}

fn named(provider: &str) -> Result<Provider, Error> {
    Provider::of_customers(provider).ok_or(Error::not_found(Code::NotFound))
}

/// Your organisation's own keys for model providers, without the keys; for owners and administrators
#[utoipa::path(get, path = "/api/v1/settings/provider-keys", tag = "provider-keys",
    responses((status = 200, body = ProviderKeys), (status = "default", body = ProblemBody)))]
pub async fn list(State(app): State<App>, Caller(ctx): Caller) -> Reply<Body<ProviderKeys>> {
    Ok(Body(ProviderKeys { keys: provider_keys::list(&app, &ctx).await? }))
}

/// One of them: `anthropic`, `google` or `openai`
#[utoipa::path(get, path = "/api/v1/settings/provider-keys/{provider}", tag = "provider-keys",
    params(("provider" = String, Path)),
    responses((status = 200, body = ProviderKey), (status = "default", body = ProblemBody)))]
pub async fn get(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(provider): Path<String>,
) -> Reply<Body<ProviderKey>> {
    Ok(Body(provider_keys::get(&app, &ctx, named(&provider)?).await?))
}

/// Store a key, in the place of the one before, once the provider takes it
#[utoipa::path(put, path = "/api/v1/settings/provider-keys/{provider}", tag = "provider-keys",
    params(("provider" = String, Path)), request_body = NewProviderKey,
    responses((status = 200, body = ProviderKey), (status = "default", body = ProblemBody)))]
pub async fn store(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(provider): Path<String>,
    Json(new): Json<NewProviderKey>,
) -> Reply<Body<ProviderKey>> {
    Ok(Body(provider_keys::store(&app, &ctx, named(&provider)?, new).await?))
}

/// Delete a key; runs use the key of the installation again, if it has one
#[utoipa::path(delete, path = "/api/v1/settings/provider-keys/{provider}", tag = "provider-keys",
    params(("provider" = String, Path)),
    responses((status = 204), (status = "default", body = ProblemBody)))]
pub async fn delete(State(app): State<App>, Caller(ctx): Caller, Path(provider): Path<String>) -> Reply<StatusCode> {
    provider_keys::delete(&app, &ctx, named(&provider)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
