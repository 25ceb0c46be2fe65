//! Versions of skills.

use axum::Json as Body;
use axum::extract::State;
use kijko_core::App;
use kijko_core::domain::ids::SkillId;
use kijko_core::domain::page::Page;
use kijko_core::domain::skill_versions::{DefinedVersion, SkillVersion, VersionDiff};
use kijko_core::domain::skills::Skill;
use kijko_core::services::skill_versions;
use serde::{Deserialize, Serialize};

use crate::etags::{EditingHeader, IfMatch, Tagged};
use crate::extract::{Caller, Id, IdempotencyHeader, Once, Query, VersionsOf};
use crate::problem::{ProblemBody, Reply};

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct VersionsQuery {
    /// Counted from 1.
    page: Option<u32>,
    /// 1 to 100; 20 when absent.
    #[serde(alias = "page_size")]
    page_size: Option<u32>,
}

/// A page of versions.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionsPage {
    versions: Vec<SkillVersion>,
    total: u64,
    page: u64,
    page_size: u32,
    has_more: bool,
}

/// The versions of a skill, the latest first
#[utoipa::path(get, path = "/api/v1/skills/{id}/versions", tag = "skill-versions",
    params(("id" = SkillId, Path), VersionsQuery),
    responses((status = 200, body = VersionsPage), (status = "default", body = ProblemBody)))]
pub async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Id(id): Id<SkillId>,
    Query(query): Query<VersionsQuery>,
) -> Reply<Body<VersionsPage>> {
    let page = Page::numbered(query.page, query.page_size)?;
    let listed = skill_versions::list(&app, &ctx, id, page).await?;
    Ok(Body(VersionsPage {
        versions: listed.rows,
        total: listed.total,
        page: page.number(),
        page_size: page.limit(),
        has_more: page.has_more(listed.total),
    }))
}

/// What a skill was in one version
#[utoipa::path(get, path = "/api/v1/skills/{id}/versions/{number}", tag = "skill-versions",
    params(("id" = SkillId, Path), ("number" = i32, Path)),
    responses((status = 200, body = DefinedVersion), (status = "default", body = ProblemBody)))]
pub async fn get(
    State(app): State<App>,
    Caller(ctx): Caller,
    VersionsOf(skill, [number]): VersionsOf<1>,
) -> Reply<Body<DefinedVersion>> {
    Ok(Body(skill_versions::get(&app, &ctx, skill, number).await?))
}

/// What changed from one version to the other
#[utoipa::path(get, path = "/api/v1/skills/{id}/versions/{number}/diff/{other}", tag = "skill-versions",
    params(("id" = SkillId, Path), ("number" = i32, Path), ("other" = i32, Path)),
    responses((status = 200, body = VersionDiff), (status = "default", body = ProblemBody)))]
pub async fn diff(
    State(app): State<App>,
    Caller(ctx): Caller,
    VersionsOf(skill, [from, to]): VersionsOf<2>,
) -> Reply<Body<VersionDiff>> {
    Ok(Body(skill_versions::diff(&app, &ctx, skill, from, to).await?))
}

/// Go back to what a skill was in one version; that makes a new version
#[utoipa::path(post, path = "/api/v1/skills/{id}/versions/{number}/restore", tag = "skill-versions",
    params(("id" = SkillId, Path), ("number" = i32, Path), IdempotencyHeader, EditingHeader),
    responses((status = 200, body = Skill, headers(("ETag" = String))), (status = "default", body = ProblemBody)))]
pub async fn restore(
    State(app): State<App>,
    Caller(ctx): Caller,
    VersionsOf(skill, [number]): VersionsOf<1>,
    Once(key): Once,
    IfMatch(based_on): IfMatch,
) -> Reply<Tagged> {
    Ok(Tagged::ok(skill_versions::restore(&app, &ctx, skill, number, &based_on, key.as_ref()).await?))
}
