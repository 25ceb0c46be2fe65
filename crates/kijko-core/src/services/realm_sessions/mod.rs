//! Signing up, in and out, and staying signed in, where an outside identity provider decides.
//!
//! Access tokens are the realm's. Refresh tokens are ours: each stands for the realm's own, which is kept sealed and
//! never leaves the server. So what the front end relies on (two tabs, a repeated refresh, a stolen token that ends the
//! family) holds whether or not the realm rotates its tokens, and is decided in one place for both modes.

use std::time::Duration;

use chrono::TimeDelta;
use secrecy::SecretString;

use crate::app::App;
use crate::domain::audit::AuditEvent;
use crate::domain::events::Event;
use crate::domain::ids::{RefreshTokenId, SessionId};
use crate::domain::realms::{KeptTokens, RealmClaims};
use crate::domain::sessions::TokenResponse;
use crate::domain::time::Timestamp;
use crate::error::{AuthReason, Error, Result};
use crate::ports::realms::Realm;
use crate::ports::{SystemTask, SystemTx};
use crate::services::identity::Credential;
use crate::services::sessions::{self, Origin};

mod entrances;
mod exchanges;

pub(super) use entrances::{sign_in, sign_in_with_code, sign_up};
pub(super) use exchanges::{refresh, switch};

/// For how long a sign-in is kept after its last token expired, whatever the clocks of others say.
const KEPT: TimeDelta = TimeDelta::days(1);

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

/// Forgets sign-ins whose tokens have all expired.
pub(crate) async fn forget_old(app: &App) -> Result<()> {
    let mut tx = app.store.system(SystemTask::ForgetRealmSessions).await?;
    tx.realm_sessions().purge(app.clock.now() - KEPT).await?;
    tx.commit().await
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
