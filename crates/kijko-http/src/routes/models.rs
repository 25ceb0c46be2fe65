//! The models that a skill can name.

use axum::Json as Body;
use axum::extract::State;
use kijko_core::App;
use kijko_core::domain::models::ModelInfo;
use kijko_core::services::models;
use serde::Serialize;

use crate::extract::Caller;
use crate::problem::{ProblemBody, Reply};

#[derive(Serialize, utoipa::ToSchema)]
pub struct ModelList {
    models: Vec<ModelInfo>,
}

/// The model catalogue, with what each costs and whether your organisation can run it now
#[utoipa::path(get, path = "/api/v1/skills/models", tag = "models",
    responses((status = 200, body = ModelList), (status = "default", body = ProblemBody)))]
pub async fn list(State(app): State<App>, Caller(ctx): Caller) -> Reply<Body<ModelList>> {
    Ok(Body(ModelList { models: models::list(&app, &ctx).await? }))
}
