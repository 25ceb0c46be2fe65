//! Versions of skills: look at them, compare them, go back to one.

use serde_json::json;

use crate::app::App;
use crate::context::{Permission, TenantContext};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::SkillId;
use crate::domain::page::{Listed, Page};
use crate::domain::skill_versions::{DefinedVersion, SkillVersion, VersionDiff};
use crate::domain::skills::{BasedOn, Skill, SkillPatch};
use crate::error::{Code, Error, Result};
use crate::ports::TenantTx;
use crate::services::idempotency::Once;

/// The latest first. Refuses with `SKILL_NOT_FOUND`.
pub async fn list(app: &App, ctx: &TenantContext, id: SkillId, page: Page) -> Result<Listed<SkillVersion>> {
    ctx.require(Permission::ReadSkills)?;
    let mut tx = app.store.tenant(ctx).await?;
    let skill = tx.skills().find(id).await?.ok_or(Error::not_found(Code::SkillNotFound))?;
    // No number is ever left out, so they need not be counted.
    let last = i64::from(skill.version).saturating_sub_unsigned(page.offset());
    let numbers = (last - i64::from(page.limit()) + 1)..=last;
    let [first, last] = [*numbers.start(), *numbers.end()].map(|number| i32::try_from(number.max(0)).unwrap_or(0));
    let rows = tx.skill_versions().list(id, first..=last).await?;
    Ok(Listed { rows, total: skill.version.unsigned_abs().into() })
}

/// Refuses with `SKILL_NOT_FOUND`, `VERSION_NOT_FOUND`.
pub async fn get(app: &App, ctx: &TenantContext, id: SkillId, number: i32) -> Result<DefinedVersion> {
    ctx.require(Permission::ReadSkills)?;
    let mut tx = app.store.tenant(ctx).await?;
    tx.skills().find(id).await?.ok_or(Error::not_found(Code::SkillNotFound))?;
    found(&mut *tx, id, number).await
}

/// What changed from one version to the other. Refuses with `SKILL_NOT_FOUND`, `VERSION_NOT_FOUND`.
pub async fn diff(app: &App, ctx: &TenantContext, id: SkillId, from: i32, to: i32) -> Result<VersionDiff> {
    ctx.require(Permission::ReadSkills)?;
    let mut tx = app.store.tenant(ctx).await?;
    tx.skills().find(id).await?.ok_or(Error::not_found(Code::SkillNotFound))?;
    let (from, to) = (found(&mut *tx, id, from).await?, found(&mut *tx, id, to).await?);
    drop(tx);
    Ok(VersionDiff::between(from, to))
}

/// Gives the skill the definition of an earlier version, as a new version; everything else stays as it is.
/// Refuses with `SKILL_NOT_FOUND`, `VERSION_NOT_FOUND`, `PRECONDITION_FAILED`, `IDEMPOTENCY_CONFLICT`.
pub async fn restore(
    app: &App,
    ctx: &TenantContext,
    id: SkillId,
    number: i32,
    based_on: &BasedOn,
    key: Option<&IdempotencyKey>,
) -> Result<Skill> {
    ctx.require(Permission::UseSkills)?;
    let once = Once::new(app, ctx, key, "restore_skill_version", &json!([id, number]))?;
    let mut tx = app.store.tenant(ctx).await?;
    if let Some(reply) = once.replay(app, &mut *tx).await? {
        return Ok(reply);
    }
    let skill = tx.skills().find_for_update(id).await?.ok_or(Error::not_found(Code::SkillNotFound))?;
    based_on.check(skill.revision)?;
    let version = found(&mut *tx, id, number).await?;
    let skill = SkillPatch::from(version.definition).apply(skill, app.clock.now())?;
    let skill = tx.skills().update(skill).await?;
    once.keep(app, &mut *tx, &skill).await?;
    tx.commit().await?;
    Ok(skill)
}

async fn found(tx: &mut dyn TenantTx, id: SkillId, number: i32) -> Result<DefinedVersion> {
    tx.skill_versions().find(id, number).await?.ok_or(Error::not_found(Code::VersionNotFound))
}
