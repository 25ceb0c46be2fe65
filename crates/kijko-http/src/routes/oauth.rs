//! Signing in by way of somebody else. Bodies are snake_case, as the front end sends them.

use axum::Json as Body;
use axum::extract::{Path, State};
use kijko_core::App;
use kijko_core::domain::oauth::{OauthCallback, OauthQuery, OauthStart};
use kijko_core::domain::sessions::TokenResponse;
use kijko_core::services::oauth;

use crate::extract::{From, Json, Query};
use crate::problem::{ProblemBody, Reply};

/// Where to send the browser to sign in: `google`, `github`, or `keycloak` in Keycloak mode
#[utoipa::path(get, path = "/api/v1/auth/oauth/{provider}", operation_id = "start_oauth", tag = "auth",
    params(("provider" = String, Path), ("redirect_uri" = Option<String>, Query,
        description = "Where the browser comes back to; an origin of REDIRECT_ALLOWLIST")), security(()),
    responses((status = 200, body = OauthStart), (status = "default", body = ProblemBody)))]
pub async fn start(
    State(app): State<App>,
    Path(provider): Path<String>,
    Query(query): Query<OauthQuery>,
) -> Reply<Body<OauthStart>> {
    Ok(Body(oauth::start(&app, &provider, query).await?))
}

/// Sign in with the code that the browser came back with
#[utoipa::path(post, path = "/api/v1/auth/oauth/callback", operation_id = "finish_oauth", tag = "auth",
    request_body = OauthCallback, security(()),
    responses((status = 200, body = TokenResponse), (status = "default", body = ProblemBody)))]
pub async fn callback(
    State(app): State<App>,
    From(origin): From,
    Json(callback): Json<OauthCallback>,
) -> Reply<Body<TokenResponse>> {
    Ok(Body(oauth::finish(&app, callback, &origin).await?))
}
