//! Skills as files: out of one library and into another.

use crate::app::App;
use crate::context::{Permission, TenantContext};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::SkillId;
use crate::domain::skill_library::{SkillExport, SkillImport};
use crate::domain::skills::{Skill, numbered_name};
use crate::error::{Code, Error, Result};
use crate::ports::TenantTx;
use crate::services::idempotency::Once;

/// How many names are looked up at once. Most imports need the first.
const NAMES_AT_A_TIME: usize = 50;
/// Imports wait for each other, so a name is only ever taken by somebody who creates or renames in that very moment.
const ATTEMPTS: usize = 5;

/// Refuses with `SKILL_NOT_FOUND`.
pub async fn export(app: &App, ctx: &TenantContext, id: SkillId) -> Result<SkillExport> {
    ctx.require(Permission::ReadSkills)?;
    let mut tx = app.store.tenant(ctx).await?;
    Ok(tx.skills().find(id).await?.ok_or(Error::not_found(Code::SkillNotFound))?.into())
}

/// A new skill of what the file says; a name that is taken gets a number.
/// Refuses with `UNSUPPORTED_VERSION`, `VALIDATION_ERROR`, `IDEMPOTENCY_CONFLICT`.
pub async fn import(
    app: &App,
    ctx: &TenantContext,
    import: SkillImport,
    key: Option<&IdempotencyKey>,
) -> Result<Skill> {
    ctx.require(Permission::UseSkills)?;
    let once = Once::new(app, ctx, key, "import_skill", &import)?;
    let new = import.into_new()?;
    let skill = new.into_skill(SkillId(app.random.uuid()), ctx.user_id(), app.clock.now());
    let skill = skill.map_err(|error| error.inside("skill"))?;
    for _ in 1..ATTEMPTS {
        match add(app, ctx, skill.clone(), &once).await {
            Err(error) if error.code() == Code::SkillNameExists => {}
            done => return done,
        }
    }
    add(app, ctx, skill, &once).await
}

async fn add(app: &App, ctx: &TenantContext, skill: Skill, once: &Once<'_>) -> Result<Skill> {
    let mut tx = app.store.tenant(ctx).await?;
    if let Some(reply) = once.replay(app, &mut *tx).await? {
        return Ok(reply);
    }
    let skill = Skill { name: free_name(&mut *tx, &skill.name).await?, ..skill };
    tx.skills().insert(&skill).await?;
    once.keep(app, &mut *tx, &skill).await?;
    tx.commit().await?;
    Ok(skill)
}

/// Each skill takes one name, so there is an end to this.
async fn free_name(tx: &mut dyn TenantTx, name: &str) -> Result<String> {
    let mut first = 0;
    loop {
        let names: Vec<String> = (first..first + NAMES_AT_A_TIME).map(|n| numbered_name(name, n)).collect();
        let taken = tx.skill_names().taken(&names).await?;
        let is_free = |name: &String| !taken.contains(&name.to_lowercase());
        if let Some(free) = names.into_iter().find(is_free) {
            return Ok(free);
        }
        first += NAMES_AT_A_TIME;
    }
}
