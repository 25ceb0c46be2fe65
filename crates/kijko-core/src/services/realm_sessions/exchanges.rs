//! Staying in: a refresh token, or another organisation, for new tokens of the realm. One process at a time exchanges
//! what is kept of a session, which it claims before.

use std::time::Duration;

use chrono::TimeDelta;
use secrecy::SecretString;

use crate::app::App;
use crate::domain::audit::AuditEvent;
use crate::domain::ids::{OrganizationId, SessionId};
use crate::domain::realms::KeptTokens;
use crate::domain::sessions::{RefreshToken, Session, TokenResponse};
use crate::domain::time::Timestamp;
use crate::error::{AuthReason, Code, Error, Result};
use crate::ports::SystemTask;
use crate::ports::realms::{Grant, Realm};
use crate::services::realm_accounts;
use crate::services::sessions::{self, Origin, delta};

use super::{end_at_realm, kept_by, open, reply, seal};

/// After this long, whoever claimed an exchange is taken for dead. Longer than any call of the realm may take.
const CLAIM: TimeDelta = TimeDelta::seconds(45);
/// How often and how long somebody waits for an exchange that another one makes.
const WAITS: usize = 150;
const WAIT: Duration = Duration::from_millis(100);

/// Exchanges a refresh token of ours for its successor, with a new access token of the realm. However many ask with
/// the same token, one exchange is made and all get what it gave.
/// Refuses with `REFRESH_TOKEN_INVALID`, `REFRESH_TOKEN_REUSED`, `AUTH_UNAVAILABLE`.
pub(in crate::services) async fn refresh(
    app: &App,
    realm: &Realm,
    token: &SecretString,
    origin: &Origin,
) -> Result<TokenResponse> {
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
pub(in crate::services) async fn switch(
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
