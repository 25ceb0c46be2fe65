//! Links that are sent by mail. Bodies are snake_case, as the front end sends them.

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use kijko_core::App;
use kijko_core::domain::accounts::{LinkRequest, PasswordReset};
use kijko_core::domain::sessions::{LinkToken, TokenResponse};
use kijko_core::services::links;
use serde::Serialize;

use crate::extract::{From, Json};
use crate::problem::{ProblemBody, Reply};

/// The same for every address.
#[derive(Serialize, utoipa::ToSchema)]
pub struct LinkRequested {
    pub message: &'static str,
}

const REQUESTED: (StatusCode, Body<LinkRequested>) = (
    StatusCode::ACCEPTED,
    Body(LinkRequested { message: "If there is an account with this address, a mail is on its way" }),
);

/// Ask for a link that resets a password
#[utoipa::path(post, path = "/api/v1/auth/password/forgot", tag = "auth", request_body = LinkRequest, security(()),
    responses((status = 202, body = LinkRequested), (status = "default", body = ProblemBody)))]
pub async fn forgot_password(
    State(app): State<App>,
    Json(request): Json<LinkRequest>,
) -> Reply<(StatusCode, Body<LinkRequested>)> {
    links::request_password_reset(&app, request).await?;
    Ok(REQUESTED)
}

/// Set a new password, with the link that was mailed; ends all sessions
#[utoipa::path(post, path = "/api/v1/auth/password/reset", tag = "auth", request_body = PasswordReset, security(()),
    responses((status = 204), (status = "default", body = ProblemBody)))]
pub async fn reset_password(
    State(app): State<App>,
    From(origin): From,
    Json(reset): Json<PasswordReset>,
) -> Reply<StatusCode> {
    links::reset_password(&app, reset, &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ask for a link that signs in
#[utoipa::path(post, path = "/api/v1/auth/magic-link", tag = "auth", request_body = LinkRequest, security(()),
    responses((status = 202, body = LinkRequested), (status = "default", body = ProblemBody)))]
pub async fn magic_link(
    State(app): State<App>,
    Json(request): Json<LinkRequest>,
) -> Reply<(StatusCode, Body<LinkRequested>)> {
    links::request_magic_link(&app, request).await?;
    Ok(REQUESTED)
}

/// Sign in, with the link that was mailed
#[utoipa::path(post, path = "/api/v1/auth/magic-link/verify", tag = "auth", request_body = LinkToken, security(()),
    responses((status = 200, body = TokenResponse), (status = "default", body = ProblemBody)))]
pub async fn verify_magic_link(
    State(app): State<App>,
    From(origin): From,
    Json(link): Json<LinkToken>,
) -> Reply<Body<TokenResponse>> {
    Ok(Body(links::sign_in(&app, &link.token, &origin).await?))
}

/// Confirm an e-mail address, with the link that was mailed to it
#[utoipa::path(post, path = "/api/v1/auth/email/verify", tag = "auth", request_body = LinkToken, security(()),
    responses((status = 204), (status = "default", body = ProblemBody)))]
pub async fn verify_email(
    State(app): State<App>,
    From(origin): From,
    Json(link): Json<LinkToken>,
) -> Reply<StatusCode> {
    links::verify_email(&app, &link.token, &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}
