//! People whom an outside identity provider signs in: found, linked, or made when they are first seen.

use crate::app::App;
use crate::domain::accounts::{Account, User};
use crate::domain::events::Event;
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::realms::RealmClaims;
use crate::domain::time::Timestamp;
use crate::error::{AuthReason, Code, Error, Result};
use crate::ports::realms::Realm;
use crate::ports::{SystemTask, SystemTx};
use crate::services::organizations;

/// How often somebody else may be faster at making the same user.
const TRIES: usize = 3;

/// The user of ours that the claims speak of, in the organisation that they name; in the one joined first when they
/// name none. Who is seen for the first time is linked by a verified address, or made.
/// Refuses with `ACCOUNT_LINK_REQUIRED` when the address is somebody's and not proven on both sides.
pub(super) async fn find_or_make(app: &App, realm: &Realm, claims: &RealmClaims, now: Timestamp) -> Result<Account> {
    for _ in 0..TRIES {
        let mut tx = app.store.system(SystemTask::Authenticate).await?;
        if let Some(account) = tx.realm_users().find(&claims.subject, claims.organization).await? {
            return Ok(as_claimed(account, claims));
        }
        if let Some(organization) = admit(app, tx, claims, now).await? {
            write_back_later(realm, claims, organization);
        }
    }
    Err(Error::unavailable(Code::AuthUnavailable, "the same user is made again and again"))
}

/// In which organisation they would be if the claims named none.
pub(super) async fn find_at_home(app: &App, claims: &RealmClaims) -> Result<Option<Account>> {
    let mut tx = app.store.system(SystemTask::Authenticate).await?;
    let account = tx.realm_users().find(&claims.subject, None).await?;
    Ok(account.map(|account| as_claimed(account, claims)))
}

/// The membership decides the role in the organisation; the realm, who belongs to the staff.
fn as_claimed(account: Account, claims: &RealmClaims) -> Account {
    let user = User { is_platform_admin: claims.is_platform_admin, ..account.user };
    Account { user, ..account }
}

/// Links or makes. Gives the organisation that was made with the user.
async fn admit(
    app: &App,
    mut tx: Box<dyn SystemTx>,
    claims: &RealmClaims,
    now: Timestamp,
) -> Result<Option<OrganizationId>> {
    // Without an address it is nobody who could have an account, such as a service.
    let email = claims.profile.address().ok_or_else(|| Error::unauthenticated(AuthReason::Invalid))?;
    if let Some(namesake) = tx.realm_users().find_namesake(&email).await? {
        // Whoever could make somebody else's address theirs on either side would get the other's account.
        let proven = namesake.email_verified && claims.profile.email_verified && !namesake.linked;
        if proven && tx.realm_users().link(namesake.id, &claims.subject, now).await? {
            tx.announce(&Event::UserChanged { user_id: namesake.id }).await?;
            tx.commit().await?;
            return Ok(None);
        }
        // Unless another process linked or made the same user just now.
        let found = tx.realm_users().find(&claims.subject, claims.organization).await?;
        return found.map_or(Err(Error::conflict(Code::AccountLinkRequired)), |_| Ok(None));
    }
    let (first_name, last_name) = claims.profile.names();
    let organization = claims.organization.is_none().then(|| organizations::own(app, &first_name));
    let user = User {
        id: UserId(app.random.uuid()),
        email,
        email_verified: claims.profile.email_verified,
        first_name,
        last_name,
        is_platform_admin: false,
    };
    let made = tx.realm_users().insert(&user, &claims.subject, organization.as_ref(), now).await?;
    if made {
        tx.commit().await?;
    }
    Ok(organization.filter(|_| made).map(|organization| organization.id))
}

/// Beside the request, which does not need it: until the realm knows, tokens name no organisation and mean this one.
/// Should it fail, the next sign-in does it.
fn write_back_later(realm: &Realm, claims: &RealmClaims, organization: OrganizationId) {
    let (client, subject) = (realm.client.clone(), claims.subject.clone());
    tokio::spawn(async move {
        if let Err(error) = client.set_organization(&subject, organization).await {
            tracing::warn!(error = error.internal_text(), "the realm was not told a new user's organisation");
        }
    });
}
