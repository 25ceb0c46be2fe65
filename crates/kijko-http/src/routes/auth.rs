//! Signing up, in and out. Bodies are snake_case, as the front end sends them.

use axum::Json as Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use kijko_core::App;
use kijko_core::domain::accounts::{Credentials, NewAccount};
use kijko_core::domain::sessions::{Me, RefreshRequest, SignOutRequest, TokenResponse};
use kijko_core::services::sessions;

use crate::extract::{From, Json, OptionalJson, SignedIn, bearer};
use crate::problem::{ProblemBody, Reply};

/// Create an account with an organisation of its own, and sign in
#[utoipa::path(post, path = "/api/v1/auth/signup", tag = "auth", request_body = NewAccount, security(()),
    responses((status = 201, body = TokenResponse), (status = "default", body = ProblemBody)))]
pub async fn signup(
    State(app): State<App>,
    From(origin): From,
    Json(new): Json<NewAccount>,
) -> Reply<(StatusCode, Body<TokenResponse>)> {
    Ok((StatusCode::CREATED, Body(sessions::sign_up(&app, new, &origin).await?)))
}

/// Sign in with e-mail and password
#[utoipa::path(post, path = "/api/v1/auth/login", tag = "auth", request_body = Credentials, security(()),
    responses((status = 200, body = TokenResponse), (status = "default", body = ProblemBody)))]
pub async fn login(
    State(app): State<App>,
    From(origin): From,
    Json(credentials): Json<Credentials>,
) -> Reply<Body<TokenResponse>> {
    Ok(Body(sessions::sign_in(&app, credentials, &origin).await?))
}

/// Exchange a refresh token for a new pair
#[utoipa::path(post, path = "/api/v1/auth/refresh", tag = "auth", request_body = RefreshRequest, security(()),
    responses((status = 200, body = TokenResponse), (status = "default", body = ProblemBody)))]
pub async fn refresh(
    State(app): State<App>,
    From(origin): From,
    Json(request): Json<RefreshRequest>,
) -> Reply<Body<TokenResponse>> {
    Ok(Body(sessions::refresh(&app, &request.refresh_token, &origin).await?))
}

/// End the session, at once and everywhere
///
/// Identified by the access token (even an expired one) or by `refresh_token` in the body.
#[utoipa::path(post, path = "/api/v1/auth/logout", tag = "auth", request_body = Option<SignOutRequest>,
    responses((status = 204), (status = "default", body = ProblemBody)))]
pub async fn logout(
    State(app): State<App>,
    From(origin): From,
    headers: HeaderMap,
    OptionalJson(request): OptionalJson<SignOutRequest>,
) -> Reply<StatusCode> {
    sessions::sign_out(&app, bearer(&headers), request.refresh_token.as_ref(), &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who is signed in
#[utoipa::path(get, path = "/api/v1/auth/me", tag = "auth",
    responses((status = 200, body = Me), (status = "default", body = ProblemBody)))]
pub async fn me(SignedIn(identity): SignedIn) -> Body<Me> {
    Body(sessions::me(&identity))
}
