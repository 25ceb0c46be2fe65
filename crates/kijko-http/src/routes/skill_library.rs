//! The library of skills: what one does with them beside editing one.

use axum::Json as Body;
use axum::extract::State;
use kijko_core::App;
use kijko_core::domain::executions::Execution;
use kijko_core::domain::ids::SkillId;
use kijko_core::domain::page::Page;
use kijko_core::domain::skill_library::{
    DuplicateRequest, Selected, SkillExport, SkillImport, SkillSelection, SkillWithRelations, Starred,
};
use kijko_core::domain::skills::Skill;
use kijko_core::services::{skill_exchange, skill_library};
use serde::{Deserialize, Serialize};

use crate::etags::Tagged;
use crate::extract::{Caller, Id, IdempotencyHeader, Json, Once, OptionalJson, Query};
use crate::problem::{ProblemBody, Reply};

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunsQuery {
    /// 1 to 100; 10 when absent.
    limit: Option<u32>,
    offset: Option<u64>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SelectionQuery {
    /// The ids, separated by commas, for who cannot send a body along; a body wins.
    ids: Option<String>,
}

/// Runs of one skill.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SkillHistory {
    executions: Vec<Execution>,
    total: u64,
}

/// The skills that you starred.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StarredSkills {
    skill_ids: Vec<SkillId>,
}

/// A skill with all that belongs to it
#[utoipa::path(get, path = "/api/v1/skills/{id}/full", tag = "skill-library", params(("id" = SkillId, Path)),
    responses((status = 200, body = SkillWithRelations), (status = "default", body = ProblemBody)))]
pub async fn full(State(app): State<App>, Caller(ctx): Caller, Id(id): Id<SkillId>) -> Reply<Body<SkillWithRelations>> {
    Ok(Body(skill_library::full(&app, &ctx, id).await?))
}

/// The runs of a skill, newest first
#[utoipa::path(get, path = "/api/v1/skills/{id}/executions", tag = "skill-library",
    params(("id" = SkillId, Path), RunsQuery),
    responses((status = 200, body = SkillHistory), (status = "default", body = ProblemBody)))]
pub async fn executions(
    State(app): State<App>,
    Caller(ctx): Caller,
    Id(id): Id<SkillId>,
    Query(query): Query<RunsQuery>,
) -> Reply<Body<SkillHistory>> {
    let page = Page::from_offset(query.limit.or(Some(10)), query.offset)?;
    let listed = skill_library::executions(&app, &ctx, id, page).await?;
    Ok(Body(SkillHistory { executions: listed.rows, total: listed.total }))
}

/// Copy a skill
#[utoipa::path(post, path = "/api/v1/skills/{id}/duplicate", tag = "skill-library",
    params(("id" = SkillId, Path), IdempotencyHeader), request_body = Option<DuplicateRequest>,
    responses((status = 201, body = Skill, headers(("ETag" = String), ("Location" = String))),
        (status = "default", body = ProblemBody)))]
pub async fn duplicate(
    State(app): State<App>,
    Caller(ctx): Caller,
    Id(id): Id<SkillId>,
    Once(key): Once,
    OptionalJson(request): OptionalJson<DuplicateRequest>,
) -> Reply<Tagged> {
    Ok(Tagged::created(skill_library::duplicate(&app, &ctx, id, request, key.as_ref()).await?))
}

/// Switch several skills on
#[utoipa::path(post, path = "/api/v1/skills/bulk/activate", tag = "skill-library", params(IdempotencyHeader),
    request_body = SkillSelection,
    responses((status = 200, body = Selected), (status = "default", body = ProblemBody)))]
pub async fn activate(
    State(app): State<App>,
    Caller(ctx): Caller,
    Once(key): Once,
    Json(selection): Json<SkillSelection>,
) -> Reply<Body<Selected>> {
    Ok(Body(skill_library::set_active(&app, &ctx, selection, true, key.as_ref()).await?))
}

/// Switch several skills off
#[utoipa::path(post, path = "/api/v1/skills/bulk/deactivate", tag = "skill-library", params(IdempotencyHeader),
    request_body = SkillSelection,
    responses((status = 200, body = Selected), (status = "default", body = ProblemBody)))]
pub async fn deactivate(
    State(app): State<App>,
    Caller(ctx): Caller,
    Once(key): Once,
    Json(selection): Json<SkillSelection>,
) -> Reply<Body<Selected>> {
    Ok(Body(skill_library::set_active(&app, &ctx, selection, false, key.as_ref()).await?))
}

/// Delete several skills; their executions stay, those that wait or run are cancelled
#[utoipa::path(delete, path = "/api/v1/skills/bulk", tag = "skill-library", params(SelectionQuery),
    request_body = Option<SkillSelection>,
    responses((status = 200, body = Selected), (status = "default", body = ProblemBody)))]
pub async fn delete(
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(query): Query<SelectionQuery>,
    OptionalJson(body): OptionalJson<Option<SkillSelection>>,
) -> Reply<Body<Selected>> {
    let selection = body.unwrap_or_else(|| SkillSelection::parse(query.ids.as_deref().unwrap_or_default()));
    Ok(Body(skill_library::delete(&app, &ctx, selection).await?))
}

/// Star a skill
#[utoipa::path(put, path = "/api/v1/skills/{id}/star", tag = "skill-library", params(("id" = SkillId, Path)),
    responses((status = 200, body = Starred), (status = "default", body = ProblemBody)))]
pub async fn star(State(app): State<App>, Caller(ctx): Caller, Id(id): Id<SkillId>) -> Reply<Body<Starred>> {
    Ok(Body(skill_library::star(&app, &ctx, id, true).await?))
}

/// Take your star back
#[utoipa::path(delete, path = "/api/v1/skills/{id}/star", tag = "skill-library", params(("id" = SkillId, Path)),
    responses((status = 200, body = Starred), (status = "default", body = ProblemBody)))]
pub async fn unstar(State(app): State<App>, Caller(ctx): Caller, Id(id): Id<SkillId>) -> Reply<Body<Starred>> {
    Ok(Body(skill_library::star(&app, &ctx, id, false).await?))
}

/// The skills that you starred, the latest first
#[utoipa::path(get, path = "/api/v1/skills/starred", tag = "skill-library",
    responses((status = 200, body = StarredSkills), (status = "default", body = ProblemBody)))]
pub async fn starred(State(app): State<App>, Caller(ctx): Caller) -> Reply<Body<StarredSkills>> {
    Ok(Body(StarredSkills { skill_ids: skill_library::starred(&app, &ctx).await? }))
}

/// A skill as a file
#[utoipa::path(get, path = "/api/v1/skills/{id}/export", tag = "skill-library", params(("id" = SkillId, Path)),
    responses((status = 200, body = SkillExport), (status = "default", body = ProblemBody)))]
pub async fn export(State(app): State<App>, Caller(ctx): Caller, Id(id): Id<SkillId>) -> Reply<Body<SkillExport>> {
    Ok(Body(skill_exchange::export(&app, &ctx, id).await?))
}

/// Make a skill of such a file; a name that is taken gets a number
#[utoipa::path(post, path = "/api/v1/skills/import", tag = "skill-library", params(IdempotencyHeader),
    request_body = SkillImport,
    responses((status = 201, body = Skill, headers(("ETag" = String), ("Location" = String))),
        (status = "default", body = ProblemBody)))]
pub async fn import(
    State(app): State<App>,
    Caller(ctx): Caller,
    Once(key): Once,
    Json(file): Json<SkillImport>,
) -> Reply<Tagged> {
    Ok(Tagged::created(skill_exchange::import(&app, &ctx, file, key.as_ref()).await?))
}
