//! Skills.

use axum::Json as Body;
use axum::extract::State;
use kijko_core::App;
use kijko_core::domain::ids::SkillId;
use kijko_core::domain::page::Page;
use kijko_core::domain::skills::{NewSkill, Skill, SkillCategory, SkillFilter, SkillPatch, SkillSort};
use kijko_core::services::skills;
use serde::{Deserialize, Serialize};

use crate::etags::{EditingHeader, IfMatch, IfNoneMatch, ReadingHeader, Tagged};
use crate::extract::{Caller, Id, IdempotencyHeader, Json, Once, Query};
use crate::problem::{ProblemBody, Reply};

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct SkillsQuery {
    /// One category, or several separated by commas.
    category: Option<String>,
    #[serde(alias = "is_active")]
    is_active: Option<bool>,
    /// Part of the name or the description, ignoring case.
    search: Option<String>,
    /// Counted from 1.
    page: Option<u32>,
    /// 1 to 100; 20 when absent.
    #[serde(alias = "page_size")]
    page_size: Option<u32>,
    sort: Option<SkillSort>,
}

/// A page of skills.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SkillsPage {
    skills: Vec<Skill>,
    total: u64,
    page: u64,
    page_size: u32,
    has_more: bool,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Success {
    pub success: bool,
}

/// Your skills
#[utoipa::path(get, path = "/api/v1/skills", tag = "skills", params(SkillsQuery),
    responses((status = 200, body = SkillsPage), (status = "default", body = ProblemBody)))]
pub async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(query): Query<SkillsQuery>,
) -> Reply<Body<SkillsPage>> {
    let page = Page::numbered(query.page, query.page_size)?;
    let filter = SkillFilter {
        categories: SkillCategory::parse_list(query.category.as_deref().unwrap_or_default())?,
        is_active: query.is_active,
        sort: query.sort.unwrap_or_default(),
        ..SkillFilter::searching(query.search)?
    };
    let listed = skills::list(&app, &ctx, &filter, page).await?;
    Ok(Body(SkillsPage {
        skills: listed.rows,
        total: listed.total,
        page: page.number(),
        page_size: page.limit(),
        has_more: page.has_more(listed.total),
    }))
}

/// Create a skill
#[utoipa::path(post, path = "/api/v1/skills", tag = "skills", request_body = NewSkill,
    params(IdempotencyHeader),
    responses((status = 201, body = Skill, headers(("ETag" = String), ("Location" = String))),
        (status = "default", body = ProblemBody)))]
pub async fn create(
    State(app): State<App>,
    Caller(ctx): Caller,
    Once(key): Once,
    Json(new): Json<NewSkill>,
) -> Reply<Tagged> {
    Ok(Tagged::created(skills::create(&app, &ctx, new, key.as_ref()).await?))
}

/// One skill
#[utoipa::path(get, path = "/api/v1/skills/{id}", tag = "skills", params(("id" = SkillId, Path), ReadingHeader),
    responses((status = 200, body = Skill, headers(("ETag" = String))),
        (status = 304, description = "No edit since; what is counted may have grown", headers(("ETag" = String))),
        (status = "default", body = ProblemBody)))]
pub async fn get(
    State(app): State<App>,
    Caller(ctx): Caller,
    Id(id): Id<SkillId>,
    known: IfNoneMatch,
) -> Reply<Tagged> {
    Ok(Tagged::ok(skills::get(&app, &ctx, id).await?).unless(&known))
}

/// Change a skill; what you leave out keeps its value
#[utoipa::path(put, path = "/api/v1/skills/{id}", tag = "skills", params(("id" = SkillId, Path), EditingHeader),
    request_body = SkillPatch,
    responses((status = 200, body = Skill, headers(("ETag" = String))), (status = "default", body = ProblemBody)))]
pub async fn update(
    State(app): State<App>,
    Caller(ctx): Caller,
    Id(id): Id<SkillId>,
    IfMatch(based_on): IfMatch,
    Json(patch): Json<SkillPatch>,
) -> Reply<Tagged> {
    Ok(Tagged::ok(skills::update(&app, &ctx, id, patch, &based_on).await?))
}

/// The same as PUT
#[utoipa::path(patch, path = "/api/v1/skills/{id}", tag = "skills", params(("id" = SkillId, Path), EditingHeader),
    request_body = SkillPatch,
    responses((status = 200, body = Skill, headers(("ETag" = String))), (status = "default", body = ProblemBody)))]
pub async fn patch(
    state: State<App>,
    caller: Caller,
    id: Id<SkillId>,
    based_on: IfMatch,
    patch: Json<SkillPatch>,
) -> Reply<Tagged> {
    update(state, caller, id, based_on, patch).await
}

/// Delete a skill; its executions stay, those that wait or run are cancelled
#[utoipa::path(delete, path = "/api/v1/skills/{id}", tag = "skills", params(("id" = SkillId, Path), EditingHeader),
    responses((status = 200, body = Success), (status = "default", body = ProblemBody)))]
pub async fn delete(
    State(app): State<App>,
    Caller(ctx): Caller,
    Id(id): Id<SkillId>,
    IfMatch(based_on): IfMatch,
) -> Reply<Body<Success>> {
    skills::delete(&app, &ctx, id, &based_on).await?;
    Ok(Body(Success { success: true }))
}
