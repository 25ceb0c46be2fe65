//! How a program that runs Kijko in process enters an organisation: as an operator, with a name and a reason that land
//! in the organisation's audit log. People with a token or an API key come in through `identity`.

use serde_json::json;

use super::identity::Operator;
use super::{administration, identity};
use crate::app::App;
use crate::context::TenantContext;
use crate::domain::accounts::User;
use crate::domain::administration::{OrganizationRecord, UserRef};
use crate::domain::check::Check;
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::organizations::{Organization, Role};
use crate::domain::plans::Plan;
use crate::error::{Code, Error, Result};
use crate::ports::SystemTask;

/// Which organisation an operator wants to enter.
#[derive(Clone, Debug)]
pub enum Entrance {
    /// One of the operator's own, founded when there is none of this name.
    Named(String),
    /// Any; what the operator does there is done for its owner.
    Known(OrganizationId),
}

/// The context of what an operator does in an organisation, and the organisation. Each entry leaves one audit entry.
/// Refuses with `VALIDATION_ERROR`, and with `NOT_FOUND` when there is no organisation of this id, or nobody owns it.
pub async fn enter(app: &App, operator: &Operator, entrance: &Entrance) -> Result<(TenantContext, OrganizationRecord)> {
    check(operator)?;
    let (organization, user) = match entrance {
        Entrance::Named(name) => own(app, operator, administration::checked_name(name)?).await?,
        Entrance::Known(id) => (*id, owner(app, *id).await?),
    };
    let ctx = identity::as_operator(app, operator, &UserRef::Id(user), Some(organization)).await?;
    let mut tx = app.store.system(SystemTask::Administer).await?;
    let record = tx.all_organizations().find(organization).await?.ok_or(Error::not_found(Code::NotFound))?;
    administration::note(app, &mut *tx, operator, &[organization], "orgs.enter", json!({ "userId": user })).await?;
    tx.commit().await?;
    Ok((ctx, record))
}

fn check(operator: &Operator) -> Result<()> {
    let mut check = Check::default();
    check.text("operator", &operator.name, 1, 50);
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    check.that(operator.name.chars().all(allowed), "operator", "format", || {
        "operator must have letters, digits, hyphens, underscores and dots only".into()
    });
    check.text("reason", operator.reason.trim(), 1, 500);
    check.done()
}

async fn owner(app: &App, organization: OrganizationId) -> Result<UserId> {
    let mut tx = app.store.system(SystemTask::Administer).await?;
    let members = tx.all_organizations().members(organization).await?;
    let owner = members.iter().find(|member| member.role == Role::Owner && member.status == "active");
    owner.map(|owner| owner.user_id).ok_or(Error::not_found(Code::NotFound))
}

/// The operator's organisation of this name, and the person who stands for the operator in it; both made when absent.
async fn own(app: &App, operator: &Operator, name: String) -> Result<(OrganizationId, UserId)> {
    let user = match stand_in(app, operator).await {
        // Somebody else was faster: then they are there.
        Err(Error::Conflict { code: Code::EmailTaken, .. }) => stand_in(app, operator).await?,
        other => other?,
    };
    let mut tx = app.store.system(SystemTask::Administer).await?;
    tx.memberships().hold(user).await?;
    if let Some(known) = tx.memberships().list(user, None).await?.into_iter().find(|known| known.name == name) {
        return Ok((known.org_id, user));
    }
    let organization = Organization { id: OrganizationId(app.random.uuid()), name, plan: Plan::Free };
    tx.memberships().found(user, &organization, app.clock.now()).await?;
    tx.commit().await?;
    Ok((organization.id, user))
}

/// Nobody can sign in as them: no mail reaches their domain (RFC 2606), and they have no password.
async fn stand_in(app: &App, operator: &Operator) -> Result<UserId> {
    let email = format!("{}@operators.invalid", operator.name.to_lowercase());
    let mut tx = app.store.system(SystemTask::Administer).await?;
    if let Some(user) = tx.all_users().find(&UserRef::Email(email.clone())).await? {
        return Ok(user.id);
    }
    let user = User {
        id: UserId(app.random.uuid()),
        email,
        email_verified: false,
        first_name: operator.name.clone(),
        last_name: "(operator)".into(),
        is_platform_admin: false,
    };
    tx.accounts().insert_person(&user, None, app.clock.now()).await?;
    tx.commit().await?;
    Ok(user.id)
}
