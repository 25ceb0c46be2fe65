//! Links that are sent by mail. Bodies are snake_case, as the front end sends them.

use axum::extract::State;
use axum::http::StatusCode;
use kijko_core::App;
use kijko_core::domain::sessions::LinkToken;
use kijko_core::services::links;

use crate::extract::{From, Json};
use crate::problem::{ProblemBody, Reply};

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
