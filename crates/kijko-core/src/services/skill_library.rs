//! The library: a skill with all that belongs to it, copies, several skills at once, stars, the runs of one skill.

use serde_json::json;

use crate::app::App;
use crate::context::{Permission, TenantContext};
use crate::domain::executions::{Execution, ExecutionFilter};
use crate::domain::history::Part;
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::SkillId;
use crate::domain::page::{Listed, Page};
use crate::domain::skill_library::{DuplicateRequest, Selected, SkillSelection, SkillWithRelations, Starred};
use crate::domain::skills::{NewSkill, Skill, copy_name};
use crate::error::{Code, Error, Result};
use crate::services::idempotency::Once;
use crate::services::skills::cancel_runs_of;

const RECENT: u32 = 10;

/// Refuses with `SKILL_NOT_FOUND`.
pub async fn full(app: &App, ctx: &TenantContext, id: SkillId) -> Result<SkillWithRelations> {
    ctx.require(Permission::ReadSkills)?;
    let mut tx = app.store.tenant(ctx).await?;
    let skill = tx.skills().find(id).await?.ok_or(Error::not_found(Code::SkillNotFound))?;
    let filter = ExecutionFilter { skill_id: Some(id), ..ExecutionFilter::default() };
    let recent = tx.history().part(&filter, &Part::Offset(0), RECENT).await?;
    let recent_executions = recent.into_iter().map(|row| row.execution).collect();
    Ok(SkillWithRelations { skill, habits: [], reflexes: [], recent_executions })
}

/// The runs of one skill, newest first. Refuses with `SKILL_NOT_FOUND`.
pub async fn executions(app: &App, ctx: &TenantContext, id: SkillId, page: Page) -> Result<Listed<Execution>> {
    ctx.require(Permission::ReadSkills)?;
    let mut tx = app.store.tenant(ctx).await?;
    tx.skills().find(id).await?.ok_or(Error::not_found(Code::SkillNotFound))?;
    let filter = ExecutionFilter { skill_id: Some(id), ..ExecutionFilter::default() };
    let total = tx.history().count(&filter).await?;
    let rows = tx.history().part(&filter, &Part::Offset(page.offset()), page.limit()).await?;
    Ok(Listed { rows: rows.into_iter().map(|row| row.execution).collect(), total })
}

/// A new skill of the same content. Neither its runs nor its versions, stars and counts are copied.
/// Refuses with `SKILL_NOT_FOUND`, `VALIDATION_ERROR`, `SKILL_NAME_EXISTS`, `IDEMPOTENCY_CONFLICT`.
pub async fn duplicate(
    app: &App,
    ctx: &TenantContext,
    id: SkillId,
    request: DuplicateRequest,
    key: Option<&IdempotencyKey>,
) -> Result<Skill> {
    ctx.require(Permission::UseSkills)?;
    let once = Once::new(app, ctx, key, "duplicate_skill", &json!([id, request]))?;
    let mut tx = app.store.tenant(ctx).await?;
    if let Some(reply) = once.replay(app, &mut *tx).await? {
        return Ok(reply);
    }
    let original = tx.skills().find(id).await?.ok_or(Error::not_found(Code::SkillNotFound))?;
    let name = request.new_name.unwrap_or_else(|| copy_name(&original.name));
    // Whether the plan chooses the model is part of the content.
    let model_is_default = original.model_is_default;
    let new = NewSkill { name, ..original.into() };
    let copy = new.into_skill(SkillId(app.random.uuid()), ctx.user_id(), app.clock.now())?;
    let copy = Skill { model_is_default, ..copy };
    tx.skills().insert(&copy).await?;
    once.keep(app, &mut *tx, &copy).await?;
    tx.commit().await?;
    Ok(copy)
}

/// Switches several skills on or off, all or none. Refuses with `VALIDATION_ERROR`, `IDEMPOTENCY_CONFLICT`.
pub async fn set_active(
    app: &App,
    ctx: &TenantContext,
    selection: SkillSelection,
    is_active: bool,
    key: Option<&IdempotencyKey>,
) -> Result<Selected> {
    ctx.require(Permission::UseSkills)?;
    let ids = selection.checked()?;
    let once = Once::new(app, ctx, key, "set_skills_active", &json!([ids, is_active]))?;
    let mut tx = app.store.tenant(ctx).await?;
    if let Some(reply) = once.replay(app, &mut *tx).await? {
        return Ok(reply);
    }
    let selected = Selected::all(tx.skills().set_active(&ids, is_active, app.clock.now()).await?);
    once.keep(app, &mut *tx, &selected).await?;
    tx.commit().await?;
    Ok(selected)
}

/// Deletes several skills as `skills::delete` does one, all or none. Refuses with `VALIDATION_ERROR`.
pub async fn delete(app: &App, ctx: &TenantContext, selection: SkillSelection) -> Result<Selected> {
    ctx.require(Permission::UseSkills)?;
    let ids = selection.checked()?;
    let mut tx = app.store.tenant(ctx).await?;
    cancel_runs_of(app, &mut *tx, &ids).await?;
    let selected = Selected::all(tx.skills().delete(&ids).await?);
    tx.commit().await?;
    Ok(selected)
}

/// Marks a skill or takes the mark back; doing so twice is doing it once. Refuses with `SKILL_NOT_FOUND`.
pub async fn star(app: &App, ctx: &TenantContext, id: SkillId, starred: bool) -> Result<Starred> {
    ctx.require(Permission::UseSkills)?;
    let mut tx = app.store.tenant(ctx).await?;
    let counted = tx.skill_stars().set(id, starred, app.clock.now()).await?;
    let star_count = counted.ok_or(Error::not_found(Code::SkillNotFound))?;
    tx.commit().await?;
    Ok(Starred { starred, star_count })
}

/// The skills that the caller marked, the latest mark first.
pub async fn starred(app: &App, ctx: &TenantContext) -> Result<Vec<SkillId>> {
    ctx.require(Permission::ReadSkills)?;
    let mut tx = app.store.tenant(ctx).await?;
    tx.skill_stars().list().await
}
