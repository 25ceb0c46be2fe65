//! Proving once more who one is, before what cannot be taken back.
//!
//! Where Kijko knows the passwords, or may ask the realm about them, the password proves it. Where the realm alone sees
//! passwords, a sign-in there that is not older than five minutes does: `auth_time` says when the person was last asked,
//! which neither a refresh nor a browser that the realm still knows makes any younger.

use chrono::TimeDelta;
use secrecy::SecretString;

use super::{login_attempts, realm_sessions, sessions::Origin};
use crate::app::App;
use crate::context::TenantContext;
use crate::domain::ids::SessionId;
use crate::error::{Code, Error, Result};
use crate::ports::SystemTask;
use crate::ports::identity::Verified;
use crate::ports::realms::{Grant, Realm};

/// How old a sign-in may be that stands for the password.
const RECENT: TimeDelta = TimeDelta::minutes(5);

/// Wrong passwords lock the account, as they do at sign-in. No connection is held while somebody is asked.
/// Refuses with `ACCOUNT_LOCKED`, `REAUTHENTICATION_FAILED`, `AUTH_UNAVAILABLE`.
pub(super) async fn demand(
    app: &App,
    ctx: &TenantContext,
    session: Option<SessionId>,
    password: SecretString,
    origin: &Origin,
) -> Result<()> {
    if app.realm.is_some() && !app.config.keycloak.direct_grant {
        return demand_recent_sign_in(app, session).await;
    }
    let mut tx = app.store.system(SystemTask::CheckPassword).await?;
    let account = tx.accounts().find(ctx.user_id(), ctx.organization_id()).await?;
    let email = account.ok_or(Error::Forbidden { code: Code::Forbidden })?.user.email;
    let hash = tx.accounts().password_hash(ctx.user_id()).await?;
    drop(tx);
    login_attempts::refuse_while_locked(app, &email, origin).await?;
    let is_right = match &app.realm {
        Some(realm) => is_right_at(app, realm, ctx, &email, &password).await?,
        None => app.passwords.verify(password, hash).await? != Verified::Wrong,
    };
    if is_right {
        return Ok(());
    }
    login_attempts::count_wrong_password(app, &email, origin).await?;
    Err(failed())
}

/// Asks the realm, which opens a session for it that nobody needs.
async fn is_right_at(
    app: &App,
    realm: &Realm,
    ctx: &TenantContext,
    email: &str,
    password: &SecretString,
) -> Result<bool> {
    let tokens = match realm.client.redeem(Grant::Password { email, password }, app.clock.now()).await {
        Ok(tokens) => tokens,
        Err(error) if error.code() == Code::InvalidCredentials => return Ok(false),
        Err(error) => return Err(error),
    };
    realm_sessions::end_at_realm(realm, &tokens.claims.sid).await;
    let mut tx = app.store.system(SystemTask::CheckPassword).await?;
    let account = tx.realm_users().find(&tokens.claims.subject, None).await?;
    Ok(account.is_some_and(|account| account.user.id == ctx.user_id()))
}

async fn demand_recent_sign_in(app: &App, session: Option<SessionId>) -> Result<()> {
    let session = session.ok_or_else(failed)?;
    let at = realm_sessions::authenticated_at(app, session).await?;
    if at.is_some_and(|at| app.clock.now() - at <= RECENT) { Ok(()) } else { Err(failed()) }
}

fn failed() -> Error {
    Error::Forbidden { code: Code::ReauthenticationFailed }
}
