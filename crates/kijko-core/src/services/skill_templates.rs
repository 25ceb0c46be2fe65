//! Built-in templates.

use crate::context::{Permission, TenantContext};
use crate::domain::skill_templates::{SkillTemplate, TemplateFilter};
use crate::error::{Code, Error, Result};

/// Those that match, in their own order.
pub fn list(ctx: &TenantContext, filter: &TemplateFilter) -> Result<Vec<&'static SkillTemplate>> {
    ctx.require(Permission::ReadSkills)?;
    Ok(SkillTemplate::all().iter().filter(|template| template.matches(filter)).collect())
}

/// Refuses with `TEMPLATE_NOT_FOUND`.
pub fn get(ctx: &TenantContext, id: &str) -> Result<&'static SkillTemplate> {
    ctx.require(Permission::ReadSkills)?;
    SkillTemplate::find(id).ok_or(Error::not_found(Code::TemplateNotFound))
}
