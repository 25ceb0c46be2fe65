//! Built-in templates.

use axum::Json as Body;
use axum::extract::Path;
use kijko_core::domain::skill_templates::{SkillTemplate, TemplateFilter};
use kijko_core::domain::skills::SkillCategory;
use kijko_core::services::skill_templates;
use serde::{Deserialize, Serialize};

use crate::extract::{Caller, Query};
use crate::problem::{ProblemBody, Reply};

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TemplatesQuery {
    category: Option<SkillCategory>,
    /// Part of the name, the description or a tag, ignoring case.
    search: Option<String>,
}

/// Templates, and the tags of all there are.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SkillTemplates {
    templates: Vec<&'static SkillTemplate>,
    tags: Vec<&'static str>,
}

/// Templates to begin a skill with
#[utoipa::path(get, path = "/api/v1/skills/templates", tag = "skill-templates", params(TemplatesQuery),
    responses((status = 200, body = SkillTemplates), (status = "default", body = ProblemBody)))]
pub async fn list(Caller(ctx): Caller, Query(query): Query<TemplatesQuery>) -> Reply<Body<SkillTemplates>> {
    let filter = TemplateFilter { category: query.category, search: query.search };
    Ok(Body(SkillTemplates { templates: skill_templates::list(&ctx, &filter)?, tags: SkillTemplate::tags() }))
}

/// One template
#[utoipa::path(get, path = "/api/v1/skills/templates/{id}", tag = "skill-templates", params(("id" = String, Path)),
    responses((status = 200, body = SkillTemplate), (status = "default", body = ProblemBody)))]
pub async fn get(Caller(ctx): Caller, Path(id): Path<String>) -> Reply<Body<&'static SkillTemplate>> {
    Ok(Body(skill_templates::get(&ctx, &id)?))
}
