//! The organisations that somebody belongs to. Bodies are snake_case, as everywhere below `/auth`.

use axum::Json as Body;
use axum::extract::State;
use kijko_core::App;
use kijko_core::domain::organizations::{OrganizationMembership, SwitchRequest};
use kijko_core::domain::sessions::TokenResponse;
use kijko_core::services::organizations;

use crate::extract::{From, Json, SignedIn};
use crate::problem::{ProblemBody, Reply};

/// The organisations that you belong to
#[utoipa::path(get, path = "/api/v1/auth/organizations", operation_id = "organizations", tag = "auth",
    responses((status = 200, body = Vec<OrganizationMembership>), (status = "default", body = ProblemBody)))]
pub async fn list(State(app): State<App>, SignedIn(identity): SignedIn) -> Reply<Body<Vec<OrganizationMembership>>> {
    Ok(Body(organizations::list(&app, &identity).await?))
}

/// Go on in another of your organisations
///
/// The tokens of the reply belong to it; those of before go on working where they did.
#[utoipa::path(post, path = "/api/v1/auth/organizations/switch", operation_id = "switch_organization", tag = "auth",
    request_body = SwitchRequest,
    responses((status = 200, body = TokenResponse), (status = "default", body = ProblemBody)))]
pub async fn switch(
    State(app): State<App>,
    SignedIn(identity): SignedIn,
    From(origin): From,
    Json(request): Json<SwitchRequest>,
) -> Reply<Body<TokenResponse>> {
    Ok(Body(organizations::switch(&app, &identity, &request, &origin).await?))
}
