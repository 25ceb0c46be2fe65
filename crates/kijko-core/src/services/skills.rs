//! Skills: create, read, change, delete.

use crate::app::App;
use crate::context::{Permission, TenantContext};
use crate::domain::events::Event;
use crate::domain::executions::{Failure, FailureCode};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::SkillId;
use crate::domain::page::{Listed, Page};
use crate::domain::skills::{BasedOn, NewSkill, Skill, SkillFilter, SkillPatch};
use crate::error::{Code, Error, Result};
use crate::ports::TenantTx;
use crate::services::idempotency::Once;

/// Refuses with `VALIDATION_ERROR`, `SKILL_NAME_EXISTS`, `IDEMPOTENCY_CONFLICT`.
pub async fn create(app: &App, ctx: &TenantContext, new: NewSkill, key: Option<&IdempotencyKey>) -> Result<Skill> {
    ctx.require(Permission::UseSkills)?;
    let once = Once::new(app, ctx, key, "create_skill", &new)?;
    let skill = new.into_skill(SkillId(app.random.uuid()), ctx.user_id(), app.clock.now())?;
    let mut tx = app.store.tenant(ctx).await?;
    if let Some(reply) = once.replay(app, &mut *tx).await? {
        return Ok(reply);
    }
    tx.skills().insert(&skill).await?;
    once.keep(app, &mut *tx, &skill).await?;
    tx.commit().await?;
    Ok(skill)
}

/// Refuses with `SKILL_NOT_FOUND`.
pub async fn get(app: &App, ctx: &TenantContext, id: SkillId) -> Result<Skill> {
    ctx.require(Permission::ReadSkills)?;
    let mut tx = app.store.tenant(ctx).await?;
    tx.skills().find(id).await?.ok_or(Error::not_found(Code::SkillNotFound))
}

/// The caller's own skills, in a stable order.
pub async fn list(app: &App, ctx: &TenantContext, filter: &SkillFilter, page: Page) -> Result<Listed<Skill>> {
    ctx.require(Permission::ReadSkills)?;
    let mut tx = app.store.tenant(ctx).await?;
    tx.skills().list(filter, page).await
}

/// Changes what the patch names. Runs that have started keep the definition they started with.
/// Refuses with `SKILL_NOT_FOUND`, `PRECONDITION_FAILED`, `VALIDATION_ERROR`, `SKILL_NAME_EXISTS`.
pub async fn update(
    app: &App,
    ctx: &TenantContext,
    id: SkillId,
    patch: SkillPatch,
    based_on: &BasedOn,
) -> Result<Skill> {
    ctx.require(Permission::UseSkills)?;
    let mut tx = app.store.tenant(ctx).await?;
    let skill = tx.skills().find_for_update(id).await?.ok_or(Error::not_found(Code::SkillNotFound))?;
    based_on.check(skill.revision)?;
    let skill = patch.apply(skill, app.clock.now())?;
    let skill = tx.skills().update(skill).await?;
    tx.commit().await?;
    Ok(skill)
}

/// Deletes the skill and cancels its waiting and running executions; the history stays.
/// Refuses with `SKILL_NOT_FOUND`, `PRECONDITION_FAILED`.
pub async fn delete(app: &App, ctx: &TenantContext, id: SkillId, based_on: &BasedOn) -> Result<()> {
    ctx.require(Permission::UseSkills)?;
    let mut tx = app.store.tenant(ctx).await?;
    cancel_runs_of(app, &mut *tx, &[id]).await?;
    let skill = tx.skills().find_for_update(id).await?.ok_or(Error::not_found(Code::SkillNotFound))?;
    based_on.check(skill.revision)?;
    tx.skills().delete(&[id]).await?;
    tx.commit().await
}

/// Before the skills go: a worker that completes a run locks it and its skill in the same order.
pub(crate) async fn cancel_runs_of(app: &App, tx: &mut dyn TenantTx, skills: &[SkillId]) -> Result<()> {
    let deleted = Failure::new(FailureCode::SkillDeleted, "The skill was deleted");
    for execution_id in tx.executions().cancel_of(skills, &deleted, app.clock.now()).await? {
        tx.announce(&Event::ExecutionEnded { execution_id }).await?;
    }
    Ok(())
}
