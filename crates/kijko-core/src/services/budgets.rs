//! How much an organisation, or one of its skills, may spend in a month.
//!
//! What a run may cost at most is held back when it is admitted, and settled in the transaction that ends it, whatever
//! ended it; see `admission` and `app.end_execution`. Runs that the organisation's own key pays for cost nothing here:
//! `Question::worst_case` and the cost that a run reports are where that is decided.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde_json::json;
use uuid::Uuid;

use crate::app::App;
use crate::context::{Permission, TenantContext};
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::budgets::{Budget, BudgetLimit, BudgetNotice, dollars, name_of};
use crate::domain::events::Event;
use crate::domain::ids::{AuditLogId, OrganizationId, SkillId};
use crate::domain::mails::Mail;
use crate::domain::usage::month;
use crate::error::{Code, Error, Result};
use crate::ports::{SystemTask, SystemTx, TenantTx};
use crate::services::{audit, mails};

/// The budget of the organisation, or that of one's own skill, and what is left of it this month.
/// Refuses with `FORBIDDEN`, `SKILL_NOT_FOUND`.
pub async fn get(app: &App, ctx: &TenantContext, skill: Option<SkillId>) -> Result<Budget> {
    ctx.require(if skill.is_some() { Permission::ReadSkills } else { Permission::ManageBudget })?;
    let mut tx = app.store.tenant(ctx).await?;
    require_skill(&mut *tx, skill).await?;
    tx.budgets().find(skill, this_month(app)).await
}

/// Sets it. Runs that were admitted go on; those that come have to fit. Refuses with `FORBIDDEN`, `VALIDATION_ERROR`,
/// `SKILL_NOT_FOUND`.
pub async fn set(app: &App, ctx: &TenantContext, skill: Option<SkillId>, limit: &BudgetLimit) -> Result<Budget> {
    change(app, ctx, skill, Some(limit.checked()?)).await
}

/// Takes it away, so that there is no limit any more; harmless when there was none.
/// Refuses with `FORBIDDEN`, `SKILL_NOT_FOUND`.
pub async fn remove(app: &App, ctx: &TenantContext, skill: Option<SkillId>) -> Result<()> {
    change(app, ctx, skill, None).await.map(drop)
}

async fn change(app: &App, ctx: &TenantContext, skill: Option<SkillId>, limit: Option<Decimal>) -> Result<Budget> {
    ctx.require(if skill.is_some() { Permission::UseSkills } else { Permission::ManageBudget })?;
    let (now, month) = (app.clock.now(), this_month(app));
    let mut tx = app.store.tenant(ctx).await?;
    require_skill(&mut *tx, skill).await?;
    if !tx.budgets().set(skill, limit, month, now).await? {
        // Their role, or the skill, changed since they were identified.
        return Err(Error::Forbidden { code: Code::Forbidden });
    }
    let metadata = json!({ "skillId": skill, "limitUsd": limit.map(dollars) });
    audit::note(app, &mut *tx, ctx, AuditEvent::SystemBudgetChanged, "Changed a monthly budget", metadata).await?;
    let budget = tx.budgets().find(skill, month).await?;
    tx.commit().await?;
    Ok(budget)
}

async fn require_skill(tx: &mut dyn TenantTx, skill: Option<SkillId>) -> Result<()> {
    if let Some(skill) = skill {
        tx.skills().find(skill).await?.ok_or(Error::not_found(Code::SkillNotFound))?;
    }
    Ok(())
}

fn this_month(app: &App) -> NaiveDate {
    month(app.clock.now().date_naive()).0
}

/// Tells whoever looks after the organisation that a share of a budget was reached: once per share, month and budget.
pub(crate) async fn announce(app: &App, organization: OrganizationId, subject: Uuid, month: NaiveDate) -> Result<()> {
    let mut tx = app.store.system(SystemTask::AnnounceBudget).await?;
    let Some(notice) = tx.budget_notices().take(organization, subject, month).await? else { return Ok(()) };
    let recipients = tx.budget_notices().recipients(organization).await?;
    for percent in &notice.percents {
        announce_share(app, &mut *tx, &notice, *percent, &recipients).await?;
    }
    tx.commit().await
}

async fn announce_share(
    app: &App,
    tx: &mut dyn SystemTx,
    notice: &BudgetNotice,
    percent: u8,
    recipients: &[String],
) -> Result<()> {
    let BudgetNotice { organization_id, skill_id, month, .. } = *notice;
    let entry = AuditEntry {
        event: AuditEvent::SystemBudgetReached,
        user_id: None,
        description: format!("{percent} % of a monthly budget are spent"),
        metadata: json!({
            "skillId": skill_id, "month": name_of(month), "percent": percent,
            "limitUsd": dollars(notice.limit), "spentUsd": dollars(notice.spent),
        }),
    };
    let id = AuditLogId(app.random.uuid());
    tx.audit().insert(organization_id, id, &entry, None, app.clock.now()).await?;
    tx.announce(&Event::BudgetReached { organization_id, skill_id, month: name_of(month), percent }).await?;
    for to in recipients {
        mails::enqueue(app, tx.outbox(), &Mail::budget_reached(to, notice, percent)).await?;
    }
    Ok(())
}
