//! Coming in: by a sign-up or a password that goes on to the realm, or by a code of the realm's own pages.

use serde_json::json;

use crate::app::App;
use crate::domain::accounts::{Account, Credentials, NewAccount};
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::ids::{OrganizationId, RefreshTokenId, UserId};
use crate::domain::login_attempts::FailureReason;
use crate::domain::realms::{KeptTokens, RealmTokens};
use crate::domain::sessions::{AuthMethod, Session, TokenResponse};
use crate::domain::time::Timestamp;
use crate::error::{Code, Error, Result};
use crate::ports::SystemTask;
use crate::ports::realms::{Grant, Realm};
use crate::services::sessions::{self, Origin};
use crate::services::{invitations, login_attempts, organizations, realm_accounts};

use super::{end_at_realm, reply, seal};

/// Creates a user in the realm, with an organisation of their own here, and signs them in. Only where the realm takes
/// passwords from us; elsewhere people register at the realm itself, on the way of `sign_in_with_code`.
/// Refuses with `AUTH_METHOD_DISABLED`, `VALIDATION_ERROR`, `EMAIL_TAKEN`, and as `invitations::accept` does.
pub(in crate::services) async fn sign_up(
    app: &App,
    realm: &Realm,
    new: NewAccount,
    origin: &Origin,
) -> Result<TokenResponse> {
    require_direct_grant(app)?;
    let mut tx = sessions::open(app, SystemTask::SignUp).await?;
    if tx.realm_users().find_namesake(&new.email).await?.is_some() {
        return Err(Error::Conflict { code: Code::EmailTaken, field: Some("email"), details: None });
    }
    drop(tx);
    let subject = realm.client.create_user(&new).await?;
    let made = insert_user(app, &new, &subject, origin).await;
    if made.is_err() {
        // What stays behind should this fail too is met at the next sign-in.
        realm.client.delete_user(&subject).await?;
    }
    realm.client.set_organization(&subject, made?).await?;
    let grant = Grant::Password { email: &new.email, password: &new.password };
    let tokens = realm.client.redeem(grant, app.clock.now()).await?;
    enter(app, realm, tokens, AuthMethod::Password, origin).await
}

/// In an organisation of their own or, with an invitation, in the one they join.
async fn insert_user(app: &App, new: &NewAccount, subject: &str, origin: &Origin) -> Result<OrganizationId> {
    let now = app.clock.now();
    let user = new.user(UserId(app.random.uuid()));
    let own = new.invitation_token.is_none().then(|| organizations::own(app, &new.first_name));
    let mut tx = sessions::open(app, SystemTask::SignUp).await?;
    if !tx.realm_users().insert(&user, subject, own.as_ref(), now).await? {
        // Somebody took the address here in between.
        return Err(Error::Conflict { code: Code::EmailTaken, field: Some("email"), details: None });
    }
    let organization = match (own, &new.invitation_token) {
        (None, Some(secret)) => invitations::join(app, &mut *tx, &user, secret, origin, now).await?.team_id,
        (own, _) => own.ok_or_else(|| Error::internal("signing up", "neither invited nor on their own"))?.id,
    };
    tx.commit().await?;
    Ok(organization)
}

/// Signs in with the password that the realm knows, where that is allowed.
/// Refuses with `AUTH_METHOD_DISABLED`, `INVALID_CREDENTIALS`, `ACCOUNT_DISABLED`, `AUTH_UNAVAILABLE`.
pub(in crate::services) async fn sign_in(
    app: &App,
    realm: &Realm,
    who: Credentials,
    origin: &Origin,
) -> Result<TokenResponse> {
    require_direct_grant(app)?;
    let grant = Grant::Password { email: &who.email, password: &who.password };
    let entered = match realm.client.redeem(grant, app.clock.now()).await {
        Ok(tokens) => enter(app, realm, tokens, AuthMethod::Password, origin).await,
        Err(error) => Err(error),
    };
    match entered.as_ref().err().map(Error::code) {
        Some(Code::InvalidCredentials) => login_attempts::count_wrong_password(app, &who.email, origin).await?,
        Some(Code::AccountDisabled) => {
            login_attempts::note_failure_later(
                app,
                &who.email,
                AuthMethod::Password,
                FailureReason::AccountDisabled,
                origin,
            );
        }
        Some(Code::NoOrganization) => {
            login_attempts::note_failure_later(
                app,
                &who.email,
                AuthMethod::Password,
                FailureReason::NoOrganization,
                origin,
            );
        }
        _ => {}
    }
    entered
}

/// Signs in with the code that the realm gave the browser: the main way.
/// Refuses with `OAUTH_CODE_INVALID`, and as `enter` does.
pub(in crate::services) async fn sign_in_with_code(
    app: &App,
    realm: &Realm,
    grant: Grant<'_>,
    origin: &Origin,
) -> Result<TokenResponse> {
    let tokens = realm.client.redeem(grant, app.clock.now()).await?;
    enter(app, realm, tokens, AuthMethod::Sso, origin).await
}

fn require_direct_grant(app: &App) -> Result<()> {
    match app.config.keycloak.direct_grant {
        true => Ok(()),
        false => Err(Error::Forbidden { code: Code::AuthMethodDisabled }),
    }
}

/// Opens a session of ours for one that the realm has just opened.
/// Refuses with `ACCOUNT_DISABLED`, `NO_ORGANIZATION`, `ACCOUNT_LINK_REQUIRED`.
async fn enter(
    app: &App,
    realm: &Realm,
    tokens: RealmTokens,
    method: AuthMethod,
    origin: &Origin,
) -> Result<TokenResponse> {
    let now = app.clock.now();
    let (account, tokens) = settle(app, realm, tokens, now).await?;
    let claims = &tokens.claims;
    let opened = open_session(app, &account, &tokens, method, origin, now).await;
    match opened {
        Ok(Some(token)) => Ok(reply(app, &KeptTokens::from(&tokens), token)),
        // The browser still has a session at the realm that was ended here. Without it, the next try asks who they are.
        Ok(None) => {
            end_at_realm(realm, &claims.sid).await;
            Err(Error::Unauthenticated { code: Code::OauthCodeInvalid, reason: None })
        }
        Err(error) => {
            end_at_realm(realm, &claims.sid).await;
            Err(error)
        }
    }
}

/// Sees to it that the token names an organisation that its holder belongs to, if there is any.
async fn settle(app: &App, realm: &Realm, tokens: RealmTokens, now: Timestamp) -> Result<(Account, RealmTokens)> {
    let account = realm_accounts::find_or_make(app, realm, &tokens.claims, now).await?;
    if tokens.claims.organization.is_some() && account.membership.is_some() {
        return Ok((account, tokens));
    }
    let home = realm_accounts::find_at_home(app, &tokens.claims).await?;
    let Some(organization) = home.and_then(|home| home.membership).map(|home| home.organization.id) else {
        return Ok((account, tokens));
    };
    realm.client.set_organization(&tokens.claims.subject, organization).await?;
    let tokens = realm.client.redeem(Grant::Refresh { token: &tokens.refresh_token }, now).await?;
    Ok((realm_accounts::find_or_make(app, realm, &tokens.claims, now).await?, tokens))
}

/// None when the session has ended here before.
async fn open_session(
    app: &App,
    account: &Account,
    tokens: &RealmTokens,
    method: AuthMethod,
    origin: &Origin,
    now: Timestamp,
) -> Result<Option<RefreshTokenId>> {
    if account.disabled {
        return Err(Error::Forbidden { code: Code::AccountDisabled });
    }
    let membership = account.membership.as_ref().ok_or(Error::Forbidden { code: Code::NoOrganization })?;
    let claims = &tokens.claims;
    let token = sessions::new_token(app, claims.session_id, now);
    let sealed = seal(app, claims.session_id, &KeptTokens::from(tokens))?;
    let mut tx = sessions::open(app, SystemTask::SignIn).await?;
    // Before the session is there: whoever ends the membership now waits, and then ends the session too.
    if !tx.memberships().note_activity(account.user.id, membership.organization.id, now).await? {
        return Err(Error::Forbidden { code: Code::NoOrganization });
    }
    let stands = tx.realm_sessions().keep(claims.session_id, &claims.sid, &sealed, token.expires_at).await?;
    let known = tx.sessions().find(claims.session_id).await?;
    if !stands || known.as_ref().is_some_and(|session| session.revoked) {
        return Ok(None);
    }
    tx.realm_users().follow(account.user.id, &claims.profile, now).await?;
    if known.is_some() {
        // The realm signed the same browser in again.
        tx.sessions().touch(claims.session_id, now, token.expires_at).await?;
    } else {
        let session = Session {
            id: claims.session_id,
            organization_id: membership.organization.id,
            user_id: account.user.id,
            auth_method: method,
            created_at: now,
            expires_at: token.expires_at,
            revoked: false,
        };
        tx.sessions().insert(&session, origin).await?;
    }
    tx.sessions().insert_token(&token).await?;
    let entry = AuditEntry {
        event: AuditEvent::UserLogin,
        user_id: Some(account.user.id),
        description: "Signed in at the identity provider".into(),
        metadata: json!({ "method": method.as_str() }),
    };
    sessions::audit(app, &mut *tx, membership.organization.id, &entry, origin, now).await?;
    if method == AuthMethod::Password {
        login_attempts::forgive(app, &mut *tx, &account.user.email).await?;
    }
    login_attempts::note_success(app, &mut *tx, account, method, origin, now).await?;
    tx.commit().await?;
    Ok(Some(token.id))
}
