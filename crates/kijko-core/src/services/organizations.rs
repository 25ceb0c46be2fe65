//! The organisations that somebody belongs to, and going from one to another.

use crate::app::App;
use crate::domain::accounts::Account;
use crate::domain::ids::OrganizationId;
use crate::domain::organizations::{Organization, OrganizationMembership, SwitchRequest};
use crate::domain::plans::Plan;
use crate::domain::sessions::TokenResponse;
use crate::domain::time::Timestamp;
use crate::error::{Code, Error, Result};
use crate::ports::{SystemTask, SystemTx};
use crate::services::identity::Identity;
use crate::services::realm_sessions;
use crate::services::sessions::{self, Origin};

/// Where the caller is an active member, in the order of joining; at most 500.
pub async fn list(app: &App, identity: &Identity) -> Result<Vec<OrganizationMembership>> {
    let account = &identity.account;
    let current = account.membership.as_ref().map(|membership| membership.organization.id);
    let mut tx = app.store.system(SystemTask::ListOrganizations).await?;
    tx.memberships().list(account.user.id, current).await
}

/// Signs the caller in to another of their organisations, without proving again who they are. The session that they come
/// from goes on, for other windows. Refuses with `NOT_FOUND` where they are no active member.
pub async fn switch(app: &App, identity: &Identity, request: &SwitchRequest, origin: &Origin) -> Result<TokenResponse> {
    let mut tx = app.store.system(SystemTask::SwitchOrganization).await?;
    let account = tx.accounts().find(identity.account.user.id, request.org_id).await?;
    let account = account.filter(|account| !account.disabled && account.membership.is_some());
    let account = account.ok_or(Error::not_found(Code::NotFound))?;
    if let (Some(realm), Some(session)) = (&app.realm, identity.session_id()) {
        drop(tx);
        return realm_sessions::switch(app, realm, session, request.org_id).await;
    }
    let now = app.clock.now();
    let how = "Came from another organisation";
    let reply = sessions::begin_session(app, &mut *tx, &account, identity.auth_method, how, origin, now).await?;
    tx.commit().await?;
    Ok(reply)
}

/// Founds one for somebody who belongs nowhere; the same one when they ask twice at once.
pub(crate) async fn found(app: &App, tx: &mut dyn SystemTx, account: &Account, now: Timestamp) -> Result<Account> {
    let user = &account.user;
    tx.memberships().hold(user.id).await?;
    let first = tx.memberships().list(user.id, None).await?.first().map(|organization| organization.org_id);
    let organization = match first {
        Some(organization) => organization,
        None => {
            let organization = own(app, &user.first_name);
            tx.memberships().found(user.id, &organization, now).await?;
            organization.id
        }
    };
    let account = tx.accounts().find(user.id, organization).await?;
    account.ok_or_else(|| Error::internal("founding an organisation", "the account is not there"))
}

/// The one that everybody begins with.
pub(super) fn own(app: &App, first_name: &str) -> Organization {
    Organization { id: OrganizationId(app.random.uuid()), name: format!("{first_name}'s workspace"), plan: Plan::Free }
}
