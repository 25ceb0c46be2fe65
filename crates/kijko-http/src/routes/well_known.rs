//! What others need in order to verify our tokens.

use axum::Json as Body;
use axum::extract::State;
use kijko_core::App;
use kijko_core::services::sessions;
use serde_json::Value;

use crate::problem::{ProblemBody, Reply};

/// The public keys that verify access tokens, RFC 7517
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "well-known", security(()),
    responses((status = 200, body = Object), (status = "default", body = ProblemBody)))]
pub async fn jwks(State(app): State<App>) -> Reply<Body<Value>> {
    Ok(Body(sessions::jwks(&app)?))
}

/// OpenID Connect metadata of this issuer
#[utoipa::path(get, path = "/.well-known/openid-configuration", tag = "well-known", security(()),
    responses((status = 200, body = Object), (status = "default", body = ProblemBody)))]
pub async fn openid_configuration(State(app): State<App>) -> Reply<Body<Value>> {
    Ok(Body(sessions::issuer_metadata(&app)?))
}
