//! What whoever runs the installation does to people and organisations, with `kijko`. Each change is noted in the audit
//! log of every organisation that it concerns, with who did it and why.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::identity::Operator;
use super::{links, organizations};
use crate::app::App;
use crate::config::AuthMode;
use crate::domain::accounts::{NewAccount, User};
use crate::domain::administration::{
    MembershipRecord, MetricUsage, NewPerson, OrganizationRecord, OrganizationUsage, UserDetails, UserRecord, UserRef,
    WayIn,
};
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::check::Check;
use crate::domain::events::Event;
use crate::domain::ids::{AuditLogId, OrganizationId, UserId};
use crate::domain::organizations::Organization;
use crate::domain::page::{Listed, Page};
use crate::domain::plans::Plan;
use crate::domain::time::Timestamp;
use crate::domain::usage::{Metric, month};
use crate::error::{Code, Error, Result};
use crate::ports::{SystemTask, SystemTx};

/// Everybody whose name or address has this in it, newest first.
pub async fn list_users(app: &App, search: &str, page: Page) -> Result<Listed<UserRecord>> {
    let mut tx = app.store.system(SystemTask::Administer).await?;
    tx.all_users().list(search.trim(), page).await
}

/// One person, and where they belong. Refuses with `NOT_FOUND`.
pub async fn show_user(app: &App, operator: &Operator, who: &UserRef) -> Result<UserDetails> {
    let mut tx = app.store.system(SystemTask::Administer).await?;
    let user = find(&mut *tx, who).await?;
    let memberships = tx.all_users().memberships(user.id).await?;
    note_for(app, &mut *tx, operator, &memberships, "users.show", json!({ "userId": user.id })).await?;
    tx.commit().await?;
    Ok(UserDetails { user, memberships })
}

/// Adds a person with an organisation of their own, also where nobody may sign up. Without a password they get a link
/// to set one with. Refuses with `VALIDATION_ERROR`, `EMAIL_TAKEN`.
pub async fn create_user(
    app: &App,
    operator: &Operator,
    new: NewPerson,
    password: Option<SecretString>,
) -> Result<WayIn> {
    passwords_are_ours(app)?;
    let needs_link = password.is_none();
    let password = password.unwrap_or_else(|| unguessable(app));
    let NewPerson { email, first_name, last_name } = new;
    let new = NewAccount { email, password, first_name, last_name, invitation_token: None }.checked()?;
    let hash = app.passwords.hash(new.password.clone()).await?;
    let organization = organizations::own(app, &new.first_name);
    let user = new.user(UserId(app.random.uuid()));
    let now = app.clock.now();
    let mut tx = app.store.system(SystemTask::Administer).await?;
    tx.accounts().insert(&user, Some(&hash), &organization, now).await?;
    let way_in = way_in(app, &mut *tx, &user, needs_link, now).await?;
    note(app, &mut *tx, operator, &[organization.id], "users.create", json!({ "userId": user.id })).await?;
    tx.commit().await?;
    Ok(way_in)
}

/// Takes somebody's password away and ends all their sessions. They get a link to set another, unless one is given.
/// Refuses with `NOT_FOUND`, `VALIDATION_ERROR`.
pub async fn reset_password(
    app: &App,
    operator: &Operator,
    who: &UserRef,
    password: Option<SecretString>,
) -> Result<WayIn> {
    passwords_are_ours(app)?;
    let needs_link = password.is_none();
    let password = password.unwrap_or_else(|| unguessable(app));
    let length = password.expose_secret().chars().count();
    if !(8..=128).contains(&length) {
        return Err(Error::invalid("password", "length", "password must have 8 to 128 characters"));
    }
    let hash = app.passwords.hash(password).await?;
    let now = app.clock.now();
    let mut tx = app.store.system(SystemTask::Administer).await?;
    let user = find(&mut *tx, who).await?;
    tx.accounts().set_password_hash(user.id, &hash, now).await?;
    tx.all_users().end_sessions(user.id, now).await?;
    let way_in = way_in(app, &mut *tx, &as_user(&user), needs_link, now).await?;
    close(app, tx, operator, user.id, "users.reset-password").await?;
    Ok(way_in)
}

/// Locks somebody out at once and everywhere, sessions and API keys alike, or lets them in again; sessions that ended
/// stay ended. Refuses with `NOT_FOUND`.
pub async fn set_disabled(app: &App, operator: &Operator, who: &UserRef, disabled: bool) -> Result<UserRecord> {
    let now = app.clock.now();
    let mut tx = app.store.system(SystemTask::Administer).await?;
    let user = find(&mut *tx, who).await?;
    tx.all_users().set_disabled(user.id, disabled.then_some(now), now).await?;
    if disabled {
        tx.all_users().end_sessions(user.id, now).await?;
    }
    let changed = find(&mut *tx, &UserRef::Id(user.id)).await?;
    close(app, tx, operator, user.id, if disabled { "users.disable" } else { "users.enable" }).await?;
    Ok(changed)
}

/// Makes somebody staff, or no longer. Refuses with `NOT_FOUND`.
pub async fn set_platform_admin(app: &App, operator: &Operator, who: &UserRef, is_one: bool) -> Result<UserRecord> {
    let now = app.clock.now();
    let mut tx = app.store.system(SystemTask::Administer).await?;
    let user = find(&mut *tx, who).await?;
    tx.all_users().set_platform_admin(user.id, is_one, now).await?;
    let changed = find(&mut *tx, &UserRef::Id(user.id)).await?;
    let action = if is_one { "users.grant-platform-admin" } else { "users.revoke-platform-admin" };
    close(app, tx, operator, user.id, action).await?;
    Ok(changed)
}

/// Every organisation whose name has this in it, newest first.
pub async fn list_organizations(app: &App, search: &str, page: Page) -> Result<Listed<OrganizationRecord>> {
    let mut tx = app.store.system(SystemTask::Administer).await?;
    tx.all_organizations().list(search.trim(), page).await
}

/// Refuses with `NOT_FOUND`.
pub async fn show_organization(app: &App, operator: &Operator, id: OrganizationId) -> Result<OrganizationRecord> {
    let mut tx = app.store.system(SystemTask::Administer).await?;
    let organization = find_organization(&mut *tx, id).await?;
    note(app, &mut *tx, operator, &[id], "orgs.show", json!({})).await?;
    tx.commit().await?;
    Ok(organization)
}

/// Everybody who belongs or belonged there, in the order of joining. Refuses with `NOT_FOUND`.
pub async fn list_members(app: &App, operator: &Operator, id: OrganizationId) -> Result<Vec<MembershipRecord>> {
    let mut tx = app.store.system(SystemTask::Administer).await?;
    find_organization(&mut *tx, id).await?;
    let members = tx.all_organizations().members(id).await?;
    note(app, &mut *tx, operator, &[id], "orgs.members", json!({})).await?;
    tx.commit().await?;
    Ok(members)
}

/// What an organisation has used of its plan, and spent, in the present periods. Refuses with `NOT_FOUND`.
pub async fn show_usage(app: &App, operator: &Operator, id: OrganizationId) -> Result<OrganizationUsage> {
    let now = app.clock.now();
    let mut tx = app.store.system(SystemTask::Administer).await?;
    let organization = find_organization(&mut *tx, id).await?;
    let mut metrics = Vec::new();
    for metric in Metric::ALL.iter().copied() {
        let used = tx.all_usage().used(id, metric, metric.period(now).0).await?;
        metrics.push(MetricUsage { metric, used, limit: metric.limit(organization.plan) });
    }
    let budget = tx.all_usage().budget(id, month(now.date_naive()).0).await?;
    note(app, &mut *tx, operator, &[id], "orgs.usage", json!({})).await?;
    tx.commit().await?;
    Ok(OrganizationUsage { organization, metrics, budget })
}

/// Adds an organisation with this person as its owner. Refuses with `NOT_FOUND`, `VALIDATION_ERROR`.
pub async fn create_organization(
    app: &App,
    operator: &Operator,
    name: &str,
    owner: &UserRef,
    plan: Plan,
) -> Result<OrganizationRecord> {
    let name = checked_name(name)?;
    let now = app.clock.now();
    let organization = Organization { id: OrganizationId(app.random.uuid()), name, plan };
    let mut tx = app.store.system(SystemTask::Administer).await?;
    let owner = find(&mut *tx, owner).await?;
    tx.memberships().found(owner.id, &organization, now).await?;
    let created = find_organization(&mut *tx, organization.id).await?;
    let details = json!({ "userId": owner.id, "plan": plan });
    note(app, &mut *tx, operator, &[organization.id], "orgs.create", details).await?;
    tx.announce(&Event::UserChanged { user_id: owner.id }).await?;
    tx.commit().await?;
    app.identities.forget(owner.id);
    Ok(created)
}

/// Refuses with `NOT_FOUND`.
pub async fn set_plan(app: &App, operator: &Operator, id: OrganizationId, plan: Plan) -> Result<OrganizationRecord> {
    let mut tx = app.store.system(SystemTask::Administer).await?;
    let before = find_organization(&mut *tx, id).await?;
    tx.all_organizations().set_plan(id, plan, app.clock.now()).await?;
    let details = json!({ "oldPlan": before.plan, "newPlan": plan });
    note(app, &mut *tx, operator, &[id], "orgs.set-plan", details).await?;
    for member in tx.all_organizations().members(id).await? {
        tx.announce(&Event::UserChanged { user_id: member.user_id }).await?;
    }
    let changed = find_organization(&mut *tx, id).await?;
    tx.commit().await?;
    Ok(changed)
}

/// The name of an organisation. Refuses with `VALIDATION_ERROR`.
pub(super) fn checked_name(name: &str) -> Result<String> {
    let name = name.trim().to_owned();
    let mut check = Check::default();
    check.text("name", &name, 1, 100);
    check.that(!name.chars().any(char::is_control), "name", "format", || {
        "name must not contain control characters".into()
    });
    check.done()?;
    Ok(name)
}

async fn find(tx: &mut dyn SystemTx, who: &UserRef) -> Result<UserRecord> {
    tx.all_users().find(who).await?.ok_or(Error::not_found(Code::NotFound))
}

async fn find_organization(tx: &mut dyn SystemTx, id: OrganizationId) -> Result<OrganizationRecord> {
    tx.all_organizations().find(id).await?.ok_or(Error::not_found(Code::NotFound))
}

/// Notes a change of a person, tells every process, and commits.
async fn close(
    app: &App,
    mut tx: Box<dyn SystemTx>,
    operator: &Operator,
    user: UserId,
    action: &'static str,
) -> Result<()> {
    let memberships = tx.all_users().memberships(user).await?;
    note_for(app, &mut *tx, operator, &memberships, action, json!({ "userId": user })).await?;
    tx.announce(&Event::UserChanged { user_id: user }).await?;
    tx.commit().await?;
    // The announcement reaches this process too, but only in a moment.
    app.identities.forget(user);
    Ok(())
}

async fn note_for(
    app: &App,
    tx: &mut dyn SystemTx,
    operator: &Operator,
    memberships: &[MembershipRecord],
    action: &'static str,
    details: Value,
) -> Result<()> {
    let organizations: Vec<_> = memberships.iter().map(|membership| membership.organization_id).collect();
    note(app, tx, operator, &organizations, action, details).await
}

pub(super) async fn note(
    app: &App,
    tx: &mut dyn SystemTx,
    operator: &Operator,
    organizations: &[OrganizationId],
    action: &'static str,
    details: Value,
) -> Result<()> {
    tracing::info!(action, operator = operator.name, reason = operator.reason, %details, "an operator acted");
    let entry = AuditEntry {
        event: AuditEvent::SystemAdminAction,
        user_id: None,
        description: format!("An operator ran `kijko {}`", action.replace('.', " ")),
        metadata: json!({ "action": action, "operator": operator.name, "reason": operator.reason, "of": details }),
    };
    let now = app.clock.now();
    for organization in organizations {
        tx.audit().insert(*organization, AuditLogId(app.random.uuid()), &entry, None, now).await?;
    }
    Ok(())
}

async fn way_in(app: &App, tx: &mut dyn SystemTx, user: &User, needs_link: bool, now: Timestamp) -> Result<WayIn> {
    let reset_link = if needs_link { Some(links::password_reset_link(app, tx, user, now).await?) } else { None };
    Ok(WayIn { user: find(tx, &UserRef::Id(user.id)).await?, reset_link })
}

fn as_user(record: &UserRecord) -> User {
    User {
        id: record.id,
        email: record.email.clone(),
        email_verified: record.email_verified,
        first_name: record.first_name.clone(),
        last_name: record.last_name.clone(),
        is_platform_admin: record.is_platform_admin,
    }
}

/// A realm keeps its people and their passwords itself.
fn passwords_are_ours(app: &App) -> Result<()> {
    match app.config.identity.mode {
        AuthMode::Builtin => Ok(()),
        AuthMode::Keycloak => {
            let rule = "KIJKO_AUTH_MODE is keycloak: people and passwords are looked after in Keycloak";
            Err(Error::invalid("KIJKO_AUTH_MODE", "format", rule))
        }
    }
}

/// A password that nobody knows, so that there is none to guess.
fn unguessable(app: &App) -> SecretString {
    let mut bytes = [0; 32];
    app.random.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes).into()
}
