//! Signing up, in and out, and staying signed in, where an outside identity provider decides.
//!
//! Access tokens are the realm's. Refresh tokens are ours: each stands for the realm's own, which is kept sealed and
//! never leaves the server. So what the front end relies on (two tabs, a repeated refresh, a stolen token that ends the
//! family) holds whether or not the realm rotates its tokens, and is decided in one place for both modes.

use std::time::Duration;

use chrono::TimeDelta;
use secrecy::SecretString;
use serde_json::json;

use crate::app::App;
use crate::domain::accounts::{Account, Credentials, NewAccount};
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::events::Event;
use crate::domain::ids::{OrganizationId, RefreshTokenId, SessionId, UserId};
use crate::domain::login_attempts::FailureReason;
use crate::domain::realms::{KeptTokens, RealmClaims, RealmTokens};
use crate::domain::sessions::{AuthMethod, RefreshToken, Session, TokenResponse};
use crate::domain::time::Timestamp;
use crate::error::{AuthReason, Code, Error, Result};
use crate::ports::realms::{Grant, Realm};
use crate::ports::{SystemTask, SystemTx};
use crate::services::identity::Credential;
use crate::services::sessions::{self, Origin, delta};
use crate::services::{invitations, login_attempts, organizations, realm_accounts};

/// After this long, whoever claimed an exchange is taken for dead. Longer than any call of the realm may take.
const CLAIM: TimeDelta = TimeDelta::seconds(45);
/// For how long a sign-in is kept after its last token expired, whatever the clocks of others say.
const KEPT: TimeDelta = TimeDelta::days(1);
/// How often and how long somebody waits for an exchange that another one makes.
const WAITS: usize = 150;
const WAIT: Duration = Duration::from_millis(100);

/// Creates a user in the realm, with an organisation of their own here, and signs them in. Only where the realm takes
/// passwords from us; elsewhere people register at the realm itself, on the way of `sign_in_with_code`.
/// Refuses with `AUTH_METHOD_DISABLED`, `VALIDATION_ERROR`, `EMAIL_TAKEN`, and as `invitations::accept` does.
pub(super) async fn sign_up(app: &App, realm: &Realm, new: NewAccount, origin: &Origin) -> Result<TokenResponse> {
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
pub(super) async fn sign_in(app: &App, realm: &Realm, who: Credentials, origin: &Origin) -> Result<TokenResponse> {
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
pub(super) async fn sign_in_with_code(
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

/// Exchanges a refresh token of ours for its successor, with a new access token of the realm. However many ask with
/// the same token, one exchange is made and all get what it gave.
/// Refuses with `REFRESH_TOKEN_INVALID`, `REFRESH_TOKEN_REUSED`, `AUTH_UNAVAILABLE`.
pub(super) async fn refresh(app: &App, realm: &Realm, token: &SecretString, origin: &Origin) -> Result<TokenResponse> {
    let hash = sessions::hash_of(app, token);
    for _ in 0..WAITS {
        match look(app, realm, &hash, origin).await? {
            Step::Answer(reply) => return Ok(reply),
            Step::Exchange(held) => {
                // A caller who hangs up must not leave the exchange half done.
                let (app, realm, origin) = (app.clone(), realm.clone(), origin.clone());
                let exchange = tokio::spawn(async move { exchange(&app, &realm, *held, &origin).await });
                return exchange.await.map_err(|e| Error::internal("exchanging a refresh token", e))?;
            }
            Step::Wait => tokio::time::sleep(WAIT).await,
        }
    }
    Err(Error::unavailable(Code::AuthUnavailable, "an exchange that takes too long"))
}

enum Step {
    Answer(TokenResponse),
    Exchange(Box<Held>),
    Wait,
}

/// A refresh token that we alone may exchange now.
struct Held {
    token: RefreshToken,
    session: Session,
    kept: KeptTokens,
}

fn invalid() -> Error {
    Error::Unauthenticated { code: Code::RefreshTokenInvalid, reason: None }
}

async fn look(app: &App, realm: &Realm, hash: &[u8; 32], origin: &Origin) -> Result<Step> {
    let now = app.clock.now();
    let mut tx = sessions::open(app, SystemTask::Refresh).await?;
    let token = tx.sessions().find_token(hash).await?.ok_or_else(invalid)?;
    let session = tx.sessions().find(token.session_id).await?.ok_or_else(invalid)?;
    if session.revoked || token.expires_at <= now {
        return Err(invalid());
    }
    let at_realm = tx.realm_sessions().find(session.id).await?.ok_or_else(invalid)?;
    let kept = at_realm.sealed.as_deref().and_then(|sealed| open(app, session.id, sealed)).ok_or_else(invalid)?;
    match token.rotation {
        None if tx.realm_sessions().claim(session.id, now, now + CLAIM).await? => {
            // What was read before the claim may be what another one has exchanged since.
            let token = tx.sessions().find_token(hash).await?.filter(|token| token.rotation.is_none());
            let kept = kept_by(app, &mut *tx, session.id).await?;
            let (Some(token), Some(kept)) = (token, kept) else { return Ok(Step::Wait) };
            tx.commit().await?;
            Ok(Step::Exchange(Box::new(Held { token, session, kept })))
        }
        None => Ok(Step::Wait),
        Some(rotation) if now - rotation.at <= delta(app.config.identity.refresh_grace) => {
            Ok(Step::Answer(reply(app, &kept, rotation.successor)))
        }
        Some(_) => {
            tx.realm_sessions().end(session.id, &at_realm.sid, session.expires_at, now).await?;
            let event = AuditEvent::SecuritySessionTerminated;
            sessions::end_session(app, tx, &session, event, "token_reuse", origin, now).await?;
            end_at_realm(realm, &at_realm.sid).await;
            Err(Error::Unauthenticated { code: Code::RefreshTokenReused, reason: None })
        }
    }
}

/// When the realm last asked this person who they are. None for a sign-in that was not made here.
pub(super) async fn authenticated_at(app: &App, session: SessionId) -> Result<Option<Timestamp>> {
    let Some(realm) = &app.realm else { return Ok(None) };
    let mut tx = sessions::open(app, SystemTask::CheckPassword).await?;
    let kept = kept_by(app, &mut *tx, session).await?;
    drop(tx);
    let Some(kept) = kept else { return Ok(None) };
    let claims = realm.verifier.verify_expired(&kept.access_token, app.clock.now()).await?;
    Ok(claims.authenticated_at)
}

/// The realm's tokens of a session that stands.
async fn kept_by(app: &App, tx: &mut dyn SystemTx, session: SessionId) -> Result<Option<KeptTokens>> {
    let at_realm = tx.realm_sessions().find(session).await?;
    Ok(at_realm.and_then(|at_realm| open(app, session, at_realm.sealed.as_deref()?)))
}

async fn exchange(app: &App, realm: &Realm, held: Held, origin: &Origin) -> Result<TokenResponse> {
    let done = try_exchange(app, realm, &held, origin).await;
    if let Err(error) = &done
        && error.code() != Code::RefreshTokenInvalid
    {
        release(app, held.session.id).await?;
    }
    done
}

async fn try_exchange(app: &App, realm: &Realm, held: &Held, origin: &Origin) -> Result<TokenResponse> {
    let now = app.clock.now();
    let token: SecretString = held.kept.refresh_token.as_str().into();
    let redeemed = realm.client.redeem(Grant::Refresh { token: &token }, now).await;
    let tokens = match redeemed {
        Ok(tokens) if tokens.claims.session_id == held.session.id => tokens,
        // The realm has ended the session, or disabled its user.
        Ok(_) | Err(Error::Unauthenticated { .. }) => {
            ended_elsewhere(app, &held.session, origin, now).await?;
            return Err(invalid());
        }
        Err(error) => return Err(error),
    };
    let account = realm_accounts::find_or_make(app, realm, &tokens.claims, now).await?;
    let kept = KeptTokens::from(&tokens);
    let sealed = seal(app, held.session.id, &kept)?;
    let successor = sessions::new_token(app, held.session.id, now);
    let mut tx = sessions::open(app, SystemTask::Refresh).await?;
    let stands = tx.realm_sessions().keep(held.session.id, &tokens.claims.sid, &sealed, successor.expires_at).await?;
    if account.disabled || account.membership.is_none() {
        // What the realm gave is kept all the same: it may have made the token before worthless.
        tx.commit().await?;
        return Err(invalid());
    }
    if !stands || !tx.sessions().rotate_token(held.token.id, successor.id, now).await? {
        // Signed out in the meantime.
        return Err(invalid());
    }
    tx.sessions().insert_token(&successor).await?;
    tx.sessions().touch(held.session.id, now, successor.expires_at).await?;
    tx.commit().await?;
    Ok(reply(app, &kept, successor.id))
}

/// Goes to another organisation of the same user, with this sign-in as a whole: which organisation tokens name is known
/// to the realm by user. Refuses with `AUTH_METHOD_DISABLED` for a sign-in that was not made here.
pub(super) async fn switch(
    app: &App,
    realm: &Realm,
    session: SessionId,
    organization: OrganizationId,
) -> Result<TokenResponse> {
    let elsewhere = || Error::Forbidden { code: Code::AuthMethodDisabled };
    for _ in 0..WAITS {
        let now = app.clock.now();
        let mut tx = sessions::open(app, SystemTask::SwitchOrganization).await?;
        kept_by(app, &mut *tx, session).await?.ok_or_else(elsewhere)?;
        if tx.realm_sessions().claim(session, now, now + CLAIM).await? {
            // Not what was there before the claim: another one may have exchanged that.
            let kept = kept_by(app, &mut *tx, session).await?.ok_or_else(elsewhere)?;
            tx.commit().await?;
            let (app, realm) = (app.clone(), realm.clone());
            let switching = tokio::spawn(async move {
                let done = try_switch(&app, &realm, session, &kept, organization).await;
                if done.is_err() {
                    release(&app, session).await?;
                }
                done
            });
            return switching.await.map_err(|e| Error::internal("switching the organisation", e))?;
        }
        drop(tx);
        tokio::time::sleep(WAIT).await;
    }
    Err(Error::unavailable(Code::AuthUnavailable, "an exchange that takes too long"))
}

async fn try_switch(
    app: &App,
    realm: &Realm,
    session: SessionId,
    kept: &KeptTokens,
    organization: OrganizationId,
) -> Result<TokenResponse> {
    let now = app.clock.now();
    let claims = realm.verifier.verify_expired(&kept.access_token, now).await?;
    realm.client.set_organization(&claims.subject, organization).await?;
    let token: SecretString = kept.refresh_token.as_str().into();
    let tokens = realm.client.redeem(Grant::Refresh { token: &token }, now).await?;
    let kept = KeptTokens::from(&tokens);
    let sealed = seal(app, session, &kept)?;
    let next = sessions::new_token(app, session, now);
    let mut tx = sessions::open(app, SystemTask::SwitchOrganization).await?;
    if !tx.realm_sessions().keep(session, &claims.sid, &sealed, next.expires_at).await? {
        return Err(Error::unauthenticated(AuthReason::Revoked));
    }
    tx.sessions().insert_token(&next).await?;
    tx.sessions().touch(session, now, next.expires_at).await?;
    tx.commit().await?;
    Ok(reply(app, &kept, next.id))
}

/// Forgets sign-ins whose tokens have all expired.
pub(crate) async fn forget_old(app: &App) -> Result<()> {
    let mut tx = app.store.system(SystemTask::ForgetRealmSessions).await?;
    tx.realm_sessions().purge(app.clock.now() - KEPT).await?;
    tx.commit().await
}

/// Nothing was exchanged; the same tokens may be tried again.
async fn release(app: &App, session: SessionId) -> Result<()> {
    let mut tx = sessions::open(app, SystemTask::Refresh).await?;
    tx.realm_sessions().release(session).await?;
    tx.commit().await
}

/// Ends here what has ended at the realm.
async fn ended_elsewhere(app: &App, session: &Session, origin: &Origin, now: Timestamp) -> Result<()> {
    let mut tx = sessions::open(app, SystemTask::Refresh).await?;
    if let Some(at_realm) = tx.realm_sessions().find(session.id).await? {
        tx.realm_sessions().end(session.id, &at_realm.sid, session.expires_at, now).await?;
    }
    sessions::end_session(app, tx, session, AuditEvent::SecuritySessionTerminated, "realm", origin, now).await
}

/// Ends the session that an access token (even an expired one) or a refresh token belongs to, here at once and in
/// every process, and at the realm. Refuses with `UNAUTHENTICATED` when neither identifies a session.
pub(super) async fn sign_out(
    app: &App,
    realm: &Realm,
    access_token: Option<&str>,
    refresh_token: Option<&SecretString>,
    origin: &Origin,
) -> Result<()> {
    let now = app.clock.now();
    let mut refusal = Error::unauthenticated(AuthReason::Missing);
    let mut claims: Option<RealmClaims> = None;
    if let Some(token) = access_token {
        match realm.verifier.verify_expired(token, now).await {
            Ok(verified) => claims = Some(verified),
            Err(error) => refusal = error,
        }
    }
    let mut tx = sessions::open(app, SystemTask::SignOut).await?;
    let (id, sid, until) = match (claims, refresh_token) {
        (Some(claims), _) => (claims.session_id, claims.sid, claims.expires_at),
        (None, Some(token)) => {
            let hash = sessions::hash_of(app, token);
            let Some(token) = tx.sessions().find_token(&hash).await? else { return Err(refusal) };
            let Some(at_realm) = tx.realm_sessions().find(token.session_id).await? else { return Err(refusal) };
            (token.session_id, at_realm.sid, token.expires_at)
        }
        (None, None) => return Err(refusal),
    };
    tx.realm_sessions().end(id, &sid, until, now).await?;
    match tx.sessions().find(id).await?.filter(|session| !session.revoked) {
        Some(session) => {
            sessions::end_session(app, tx, &session, AuditEvent::UserLogout, "logout", origin, now).await?;
        }
        // A sign-in that was not made here.
        None => {
            tx.announce(&Event::SessionRevoked { session_id: id }).await?;
            tx.commit().await?;
            app.identities.end(Credential::Session(id));
        }
    }
    end_at_realm(realm, &sid).await;
    Ok(())
}

/// What is ended here is refused here, so a realm that cannot be told is no reason to fail.
pub(super) async fn end_at_realm(realm: &Realm, sid: &str) {
    let (client, sid) = (realm.client.clone(), sid.to_owned());
    let ending = tokio::spawn(async move {
        if let Err(error) = client.end_session(&sid).await {
            tracing::warn!(error = error.internal_text(), "a session that ended here goes on at the realm");
        }
    });
    // A realm that hangs is told without the caller.
    tokio::time::timeout(Duration::from_secs(2), ending).await.ok();
}

fn reply(app: &App, kept: &KeptTokens, token: RefreshTokenId) -> TokenResponse {
    TokenResponse {
        access_token: kept.access_token.clone(),
        refresh_token: sessions::refresh_token(app, token),
        token_type: "Bearer",
        expires_in: kept.expires_in,
    }
}

fn seal(app: &App, session: SessionId, kept: &KeptTokens) -> Result<Vec<u8>> {
    let plain = serde_json::to_vec(kept).map_err(|e| Error::internal("keeping tokens", e))?;
    app.secrets.seal(&plain, &row(session))
}

fn open(app: &App, session: SessionId, sealed: &[u8]) -> Option<KeptTokens> {
    serde_json::from_slice(&app.secrets.open(sealed, &row(session))?).ok()
}

fn row(session: SessionId) -> String {
    format!("realm_sessions/{session}")
}
