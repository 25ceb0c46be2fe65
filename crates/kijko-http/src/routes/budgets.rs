//! Budgets: of the organisation, for its owners and administrators, and of one's own skills.

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use kijko_core::App;
use kijko_core::domain::budgets::{Budget, BudgetLimit};
use kijko_core::domain::ids::SkillId;
use kijko_core::services::budgets;

use crate::extract::{Caller, Id, Json};
use crate::problem::{ProblemBody, Reply};

/// The monthly budget of the organisation, and what is left of it
#[utoipa::path(get, path = "/api/v1/settings/budget", tag = "budgets",
    responses((status = 200, body = Budget), (status = "default", body = ProblemBody)))]
pub async fn get(State(app): State<App>, Caller(ctx): Caller) -> Reply<Body<Budget>> {
    Ok(Body(budgets::get(&app, &ctx, None).await?))
}

/// Set it: runs that could cost more than what is left are refused
#[utoipa::path(put, path = "/api/v1/settings/budget", tag = "budgets", request_body = BudgetLimit,
    responses((status = 200, body = Budget), (status = "default", body = ProblemBody)))]
pub async fn set(State(app): State<App>, Caller(ctx): Caller, Json(limit): Json<BudgetLimit>) -> Reply<Body<Budget>> {
    Ok(Body(budgets::set(&app, &ctx, None, &limit).await?))
}

/// Take it away, so that there is no limit
#[utoipa::path(delete, path = "/api/v1/settings/budget", tag = "budgets",
    responses((status = 204), (status = "default", body = ProblemBody)))]
pub async fn remove(State(app): State<App>, Caller(ctx): Caller) -> Reply<StatusCode> {
    budgets::remove(&app, &ctx, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The monthly budget of a skill, and what is left of it
#[utoipa::path(get, path = "/api/v1/skills/{id}/budget", tag = "budgets", params(("id" = SkillId, Path)),
    responses((status = 200, body = Budget), (status = "default", body = ProblemBody)))]
pub async fn get_of_skill(State(app): State<App>, Caller(ctx): Caller, Id(id): Id<SkillId>) -> Reply<Body<Budget>> {
    Ok(Body(budgets::get(&app, &ctx, Some(id)).await?))
}

/// Set it: runs that could cost more than what is left are refused
#[utoipa::path(put, path = "/api/v1/skills/{id}/budget", tag = "budgets", params(("id" = SkillId, Path)),
    request_body = BudgetLimit,
    responses((status = 200, body = Budget), (status = "default", body = ProblemBody)))]
pub async fn set_of_skill(
    State(app): State<App>,
    Caller(ctx): Caller,
    Id(id): Id<SkillId>,
    Json(limit): Json<BudgetLimit>,
) -> Reply<Body<Budget>> {
    Ok(Body(budgets::set(&app, &ctx, Some(id), &limit).await?))
}

/// Take it away, so that there is no limit
#[utoipa::path(delete, path = "/api/v1/skills/{id}/budget", tag = "budgets", params(("id" = SkillId, Path)),
    responses((status = 204), (status = "default", body = ProblemBody)))]
pub async fn remove_of_skill(State(app): State<App>, Caller(ctx): Caller, Id(id): Id<SkillId>) -> Reply<StatusCode> {
    budgets::remove(&app, &ctx, Some(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
