//! Signing up, in and out, and staying signed in: the built-in identity provider.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use secrecy::SecretString;
use serde_json::json;

use crate::app::App;
use crate::domain::accounts::{Account, Credentials, NewAccount};
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::events::Event;
use crate::domain::ids::{AuditLogId, OrganizationId, RefreshTokenId, SessionId, UserId};
use crate::domain::limits::Counter;
use crate::domain::login_attempts::FailureReason;
use crate::domain::plans::Plan;
use crate::domain::sessions::{AUDIENCE, AuthMethod, Claims, Me, RefreshToken, Session, TokenResponse, role_names};
use crate::domain::time::Timestamp;
use crate::error::{AuthReason, Code, Error, Result};
use crate::ports::identity::Verified;
use crate::ports::{SystemTask, SystemTx};
use crate::services::identity::{Credential, Identity};
use crate::services::{invitations, limits, links, login_attempts, organizations, realm_sessions};

pub use crate::domain::sessions::Origin;

/// Creates a user and signs them in: to an organisation of their own or, with an invitation, to the one they join.
/// Refuses with `VALIDATION_ERROR`, `EMAIL_TAKEN`, `SIGNUP_DISABLED`; with `EMAIL_NOT_VERIFIED` when the account is
/// made but nobody signs in before their address is confirmed; and as `invitations::accept` does.
pub async fn sign_up(app: &App, new: NewAccount, origin: &Origin) -> Result<TokenResponse> {
    if !app.config.identity.signup_enabled {
        return Err(Error::Forbidden { code: Code::SignupDisabled });
    }
    let new = new.checked()?;
    if let Some(realm) = &app.realm {
        return realm_sessions::sign_up(app, realm, new, origin).await;
    }
    let hash = app.passwords.hash(new.password.clone()).await?;
    let user = new.user(UserId(app.random.uuid()));
    let now = app.clock.now();
    let mut tx = open(app, SystemTask::SignUp).await?;
    let organization = match &new.invitation_token {
        Some(secret) => {
            tx.accounts().insert_person(&user, Some(&hash), now).await?;
            invitations::join(app, &mut *tx, &user, secret, origin, now).await?.team_id
        }
        None => {
            let organization = organizations::own(app, &user.first_name);
            tx.accounts().insert(&user, Some(&hash), &organization, now).await?;
            organization.id
        }
    };
    let account = tx.accounts().find(user.id, organization).await?;
    let account = account.ok_or_else(|| Error::internal("signing up", "the account is not there"))?;
    // An invitation that was mailed has proved the address.
    if !account.user.email_verified {
        if app.config.identity.require_email_verification {
            return links::demand_verification(app, tx, &account.user, now).await;
        }
        links::send_verification(app, &mut *tx, &account.user, now).await?;
    }
    let reply = open_session(app, &mut *tx, &account, AuthMethod::Password, origin, now).await?;
    tx.commit().await?;
    Ok(reply)
}

/// Signs in with e-mail and password.
/// Refuses with `VALIDATION_ERROR`, `RATE_LIMITED`, `ACCOUNT_LOCKED`, `INVALID_CREDENTIALS`, `ACCOUNT_DISABLED`,
/// `EMAIL_NOT_VERIFIED`.
pub async fn sign_in(app: &App, credentials: Credentials, origin: &Origin) -> Result<TokenResponse> {
    let Credentials { email, password } = credentials.checked()?;
    limits::of_account(app, Counter::LoginOfAccount, &email).await?;
    login_attempts::refuse_while_locked(app, &email, origin).await?;
    if let Some(realm) = &app.realm {
        return realm_sessions::sign_in(app, realm, Credentials { email, password }, origin).await;
    }
    let mut tx = open(app, SystemTask::SignIn).await?;
    let hash = tx.accounts().password_hash_by_email(&email).await?;
    // Hashing takes a while, and no connection is held meanwhile.
    drop(tx);
    let rehashed = match app.passwords.verify(password.clone(), hash.clone()).await? {
        Verified::Right => None,
        Verified::RightButOutdated => Some(app.passwords.hash(password).await?),
        Verified::Wrong => {
            login_attempts::count_wrong_password(app, &email, origin).await?;
            return Err(Error::Unauthenticated { code: Code::InvalidCredentials, reason: None });
        }
    };
    let now = app.clock.now();
    let mut tx = open(app, SystemTask::SignIn).await?;
    let account = tx.accounts().find_by_email(&email).await?.map(|(account, _)| account);
    let account = account.ok_or(Error::Unauthenticated { code: Code::InvalidCredentials, reason: None })?;
    if account.disabled {
        login_attempts::note_failure_later(app, &email, AuthMethod::Password, FailureReason::AccountDisabled, origin);
        return Err(Error::Forbidden { code: Code::AccountDisabled });
    }
    // A password that was reset while it was being verified is wrong by now.
    if !tx.accounts().has_password_hash(account.user.id, hash.as_deref().unwrap_or_default()).await? {
        return Err(Error::Unauthenticated { code: Code::InvalidCredentials, reason: None });
    }
    if app.config.identity.require_email_verification && !account.user.email_verified {
        // The link from the sign-up may have expired.
        login_attempts::note_failure_later(app, &email, AuthMethod::Password, FailureReason::EmailNotVerified, origin);
        return links::demand_verification(app, tx, &account.user, now).await;
    }
    login_attempts::forgive(app, &mut *tx, &email).await?;
    if let Some(hash) = rehashed {
        tx.accounts().set_password_hash(account.user.id, &hash, now).await?;
    }
    let reply = open_session(app, &mut *tx, &account, AuthMethod::Password, origin, now).await?;
    tx.commit().await?;
    Ok(reply)
}

/// Exchanges a refresh token for its successor, once; for a short while the same successor again, so that two tabs
/// do not sign each other out. Refuses with `RATE_LIMITED` and `REFRESH_TOKEN_INVALID`; with `REFRESH_TOKEN_REUSED` it
/// also ends the session, since somebody else may hold the token.
pub async fn refresh(app: &App, token: &SecretString, origin: &Origin) -> Result<TokenResponse> {
    let invalid = || Error::Unauthenticated { code: Code::RefreshTokenInvalid, reason: None };
    let hash = hash_of(app, token);
    let mut tx = open(app, SystemTask::Refresh).await?;
    let family = tx.sessions().find_token(&hash).await?.ok_or_else(invalid)?.session_id;
    // Counting may ask another server, and no connection is held meanwhile.
    drop(tx);
    limits::of_family(app, family).await?;
    if let Some(realm) = &app.realm {
        return realm_sessions::refresh(app, realm, token, origin).await;
    }
    let now = app.clock.now();
    let mut tx = open(app, SystemTask::Refresh).await?;
    let mut token = tx.sessions().find_token(&hash).await?.ok_or_else(invalid)?;
    let session = tx.sessions().find(token.session_id).await?.ok_or_else(invalid)?;
    let account = tx.accounts().find(session.user_id, session.organization_id).await?;
    let account = account.filter(|a| !a.disabled && a.membership.is_some()).ok_or_else(invalid)?;
    if session.revoked || token.expires_at <= now {
        return Err(invalid());
    }
    if token.rotation.is_none() {
        if !tx.memberships().note_activity(session.user_id, session.organization_id, now).await? {
            return Err(invalid());
        }
        let successor = new_token(app, session.id, now);
        if tx.sessions().rotate_token(token.id, successor.id, now).await? {
            tx.sessions().insert_token(&successor).await?;
            tx.sessions().touch(session.id, now, successor.expires_at).await?;
            let reply = token_response(app, &account, &session, successor.id, now)?;
            tx.commit().await?;
            return Ok(reply);
        }
        // Somebody was faster with the same token; what they got is what we answer.
        token = tx.sessions().find_token(&hash).await?.ok_or_else(invalid)?;
    }
    let rotation = token.rotation.ok_or_else(invalid)?;
    if now - rotation.at <= delta(app.config.identity.refresh_grace) {
        return token_response(app, &account, &session, rotation.successor, rotation.at);
    }
    end_session(app, tx, &session, AuditEvent::SecuritySessionTerminated, "token_reuse", origin, now).await?;
    Err(Error::Unauthenticated { code: Code::RefreshTokenReused, reason: None })
}

/// Ends the session that an access token (even an expired one) or a refresh token belongs to. Access tokens of it are
/// refused from now on, everywhere. Refuses with `UNAUTHENTICATED` when neither identifies a session.
pub async fn sign_out(
    app: &App,
    access_token: Option<&str>,
    refresh_token: Option<&SecretString>,
    origin: &Origin,
) -> Result<()> {
    if let Some(realm) = &app.realm {
        return realm_sessions::sign_out(app, realm, access_token, refresh_token, origin).await;
    }
    let now = app.clock.now();
    let mut reason = AuthReason::Missing;
    let mut session_id = None;
    if let Some(token) = access_token {
        match app.tokens.verify_expired(token, now) {
            Ok(claims) => session_id = Some(claims.sid),
            Err(why) => reason = why,
        }
    }
    let mut tx = open(app, SystemTask::SignOut).await?;
    if let (None, Some(token)) = (session_id, refresh_token) {
        let hash = hash_of(app, token);
        session_id = tx.sessions().find_token(&hash).await?.map(|token| token.session_id);
    }
    let session_id = session_id.ok_or_else(|| Error::unauthenticated(reason))?;
    match tx.sessions().find(session_id).await? {
        Some(session) => end_session(app, tx, &session, AuditEvent::UserLogout, "logout", origin, now).await,
        None => Ok(()),
    }
}

/// What the front end shows of the person who is signed in.
pub fn me(identity: &Identity) -> Me {
    let account = &identity.account;
    let organization = account.membership.as_ref().map(|m| &m.organization);
    Me {
        id: account.user.id,
        email: account.user.email.clone(),
        first_name: account.user.first_name.clone(),
        last_name: account.user.last_name.clone(),
        org_id: organization.map_or(OrganizationId(uuid::Uuid::nil()), |o| o.id),
        roles: role_names(account),
        plan: organization.map_or(Plan::Free, |o| o.plan),
        email_verified: account.user.email_verified,
    }
}

/// The public keys of this installation, RFC 7517. Refuses with `NOT_FOUND` where the tokens are somebody else's.
pub fn jwks(app: &App) -> Result<serde_json::Value> {
    refuse_where_a_realm_issues(app)?;
    Ok(app.tokens.jwks())
}

/// Who we are as an identity provider, OpenID Connect Discovery. Refuses with `NOT_FOUND` where we are none.
pub fn issuer_metadata(app: &App) -> Result<serde_json::Value> {
    refuse_where_a_realm_issues(app)?;
    let issuer = app.tokens.issuer();
    Ok(json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "token_endpoint": format!("{issuer}/api/v1/auth/login"),
        "userinfo_endpoint": format!("{issuer}/api/v1/auth/me"),
        "end_session_endpoint": format!("{issuer}/api/v1/auth/logout"),
        "response_types_supported": ["token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claims_supported": ["sub", "sid", "org_id", "email", "email_verified", "given_name", "family_name", "roles"],
    }))
}

fn refuse_where_a_realm_issues(app: &App) -> Result<()> {
    app.realm.as_ref().map_or(Ok(()), |_| Err(Error::not_found(Code::NotFound)))
}

/// A sign-in that the database cannot serve right now has a code of its own.
pub(super) async fn open(app: &App, task: SystemTask) -> Result<Box<dyn SystemTx>> {
    app.store.system(task).await.map_err(|error| match error {
        Error::Unavailable { source, .. } => Error::Unavailable { code: Code::AuthUnavailable, source },
        other => other,
    })
}

/// Signs in somebody who proved who they are. Who belongs nowhere any more gets an organisation of their own, so that
/// they can accept an invitation, or go on alone.
pub(super) async fn open_session(
    app: &App,
    tx: &mut dyn SystemTx,
    account: &Account,
    auth_method: AuthMethod,
    origin: &Origin,
    now: Timestamp,
) -> Result<TokenResponse> {
    let description = match auth_method {
        AuthMethod::MagicLink => "Signed in with a link",
        AuthMethod::Sso => "Signed in through a provider",
        AuthMethod::Password | AuthMethod::ApiKey => "Signed in with a password",
    };
    let founded;
    let account = match &account.membership {
        Some(_) => account,
        None => {
            founded = organizations::found(app, tx, account, now).await?;
            &founded
        }
    };
    let reply = begin_session(app, tx, account, auth_method, description, origin, now).await?;
    login_attempts::note_success(app, tx, account, auth_method, origin, now).await?;
    Ok(reply)
}

/// A new session in the organisation of the account, for somebody who is known already. Refuses with `NO_ORGANIZATION`.
pub(crate) async fn begin_session(
    app: &App,
    tx: &mut dyn SystemTx,
    account: &Account,
    auth_method: AuthMethod,
    description: &str,
    origin: &Origin,
    now: Timestamp,
) -> Result<TokenResponse> {
    if app.realm.is_some() {
        // Tokens of ours would be refused here: links and passwords of the built-in provider open nothing.
        return Err(Error::Forbidden { code: Code::AuthMethodDisabled });
    }
    let Some(membership) = &account.membership else { return Err(Error::Forbidden { code: Code::NoOrganization }) };
    // Before the session is there: whoever ends the membership now waits, and then ends the session too.
    if !tx.memberships().note_activity(account.user.id, membership.organization.id, now).await? {
        return Err(Error::Forbidden { code: Code::NoOrganization });
    }
    let id = SessionId(app.random.uuid());
    let token = new_token(app, id, now);
    let session = Session {
        id,
        organization_id: membership.organization.id,
        user_id: account.user.id,
        auth_method,
        created_at: now,
        expires_at: token.expires_at,
        revoked: false,
    };
    tx.sessions().insert(&session, origin).await?;
    tx.sessions().insert_token(&token).await?;
    let entry = AuditEntry {
        event: AuditEvent::UserLogin,
        user_id: Some(account.user.id),
        description: description.to_owned(),
        metadata: json!({}),
    };
    audit(app, tx, session.organization_id, &entry, origin, now).await?;
    token_response(app, account, &session, token.id, now)
}

pub(super) async fn end_session(
    app: &App,
    mut tx: Box<dyn SystemTx>,
    session: &Session,
    event: AuditEvent,
    reason: &'static str,
    origin: &Origin,
    now: Timestamp,
) -> Result<()> {
    if !tx.sessions().revoke(session.id, reason, now).await? {
        return Ok(());
    }
    let description = match event {
        AuditEvent::UserLogout => "Signed out",
        _ if reason == "realm" => "Session ended by the identity provider",
        _ => "Session ended because a refresh token was used twice",
    };
    let entry = AuditEntry {
        event,
        user_id: Some(session.user_id),
        description: description.into(),
        metadata: json!({ "sessionId": session.id }),
    };
    audit(app, &mut *tx, session.organization_id, &entry, origin, now).await?;
    tx.announce(&Event::SessionRevoked { session_id: session.id }).await?;
    tx.commit().await?;
    // The announcement reaches this process too, but only in a moment.
    app.identities.end(Credential::Session(session.id));
    Ok(())
}

/// Ends every session of a user, in this transaction. Once it is committed, tell this process: `app.identities.end`.
pub(super) async fn end_all_sessions(
    app: &App,
    tx: &mut dyn SystemTx,
    user: UserId,
    reason: &'static str,
    origin: &Origin,
    now: Timestamp,
) -> Result<Vec<SessionId>> {
    let ended = tx.sessions().revoke_all(user, reason, now).await?;
    for (session, organization) in &ended {
        let entry = AuditEntry {
            event: AuditEvent::SecuritySessionTerminated,
            user_id: Some(user),
            description: "Session ended because a link that was mailed took the account over".into(),
            metadata: json!({ "sessionId": session, "reason": reason }),
        };
        audit(app, tx, *organization, &entry, origin, now).await?;
        tx.announce(&Event::SessionRevoked { session_id: *session }).await?;
    }
    Ok(ended.into_iter().map(|(session, _)| session).collect())
}

pub(super) async fn audit(
    app: &App,
    tx: &mut dyn SystemTx,
    organization: OrganizationId,
    entry: &AuditEntry,
    origin: &Origin,
    now: Timestamp,
) -> Result<()> {
    let id = AuditLogId(app.random.uuid());
    tx.audit().insert(organization, id, entry, Some(origin), now).await
}

pub(super) fn new_token(app: &App, session: SessionId, now: Timestamp) -> RefreshToken {
    let id = RefreshTokenId(app.random.uuid());
    RefreshToken {
        id,
        session_id: session,
        token_hash: app.tokens.sha256(refresh_token(app, id).as_bytes()),
        created_at: now,
        expires_at: now + delta(app.config.identity.refresh_token_ttl),
        rotation: None,
    }
}

/// Derived from its id, so that a successor can be handed out again without being stored in clear.
pub(super) fn refresh_token(app: &App, id: RefreshTokenId) -> String {
    URL_SAFE_NO_PAD.encode(app.tokens.mac("refresh token", id.0.as_bytes()))
}

pub(super) fn hash_of(app: &App, token: &SecretString) -> [u8; 32] {
    app.tokens.sha256(secrecy::ExposeSecret::expose_secret(token).as_bytes())
}

/// The same arguments give the same pair to the letter.
fn token_response(
    app: &App,
    account: &Account,
    session: &Session,
    token: RefreshTokenId,
    issued_at: Timestamp,
) -> Result<TokenResponse> {
    let Some(membership) = &account.membership else { return Err(Error::Forbidden { code: Code::NoOrganization }) };
    let expires_in = delta(app.config.identity.access_token_ttl).num_seconds();
    let issued = issued_at.timestamp();
    let claims = Claims {
        iss: app.tokens.issuer().to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: account.user.id,
        sid: session.id,
        jti: token.to_string(),
        org_id: membership.organization.id,
        email: account.user.email.clone(),
        email_verified: account.user.email_verified,
        given_name: account.user.first_name.clone(),
        family_name: account.user.last_name.clone(),
        roles: role_names(account),
        amr: vec![session.auth_method.amr().to_owned()],
        iat: issued,
        nbf: issued,
        exp: issued + expires_in,
    };
    Ok(TokenResponse {
        access_token: app.tokens.sign(&claims)?,
        refresh_token: refresh_token(app, token),
        token_type: "Bearer",
        expires_in,
    })
}

pub(super) fn delta(duration: std::time::Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
