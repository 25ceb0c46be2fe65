//! Who is calling. The only place that makes a `TenantContext`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use moka::sync::Cache;
use tokio::sync::broadcast;

use crate::app::App;
use crate::context::{Actor, TenantContext};
use crate::domain::accounts::Account;
use crate::domain::events::Event;
use crate::domain::ids::{OrganizationId, SessionId, UserId};
use crate::domain::sessions::Claims;
use crate::domain::time::Timestamp;
use crate::error::{AuthReason, Code, Error, Result};
use crate::ports::SystemTask;
use crate::ports::events::Heard;

/// How long an identity may be believed without asking the database again. A role that was taken away is gone
/// after at most this long; a session that was ended is gone at once.
const BELIEVED: TimeDelta = TimeDelta::seconds(30);
const REMEMBERED_TOKENS: u64 = 50_000;

/// Somebody who signed in.
#[derive(Debug)]
pub struct Identity {
    pub account: Account,
    pub session_id: SessionId,
    expires_at: i64,
    checked_at: Timestamp,
    /// Of `Identities`, when this was looked up.
    epoch: u64,
}

impl Identity {
    /// The key to the data of their organisation. Refuses with `NO_ORGANIZATION`.
    pub fn context(&self) -> Result<TenantContext> {
        let membership = self.account.membership.as_ref().ok_or(Error::Forbidden { code: Code::NoOrganization })?;
        let actor = Actor::User { role: membership.role };
        Ok(TenantContext::new(membership.organization.id, self.account.user.id, actor))
    }
}

/// The context of work that the person began earlier, such as a run of their skill.
pub(crate) fn for_job(organization: OrganizationId, user: UserId) -> TenantContext {
    TenantContext::new(organization, user, Actor::Job)
}

/// What this process remembers of tokens, so that a request costs no look-up.
pub struct Identities {
    by_token: Cache<[u8; 32], Arc<Identity>>,
    /// Sessions that were ended, for as long as their last access token could live.
    ended: Cache<SessionId, ()>,
    /// Counts how often something may have been missed; what was looked up before is looked up again.
    epoch: AtomicU64,
}

impl Identities {
    pub(crate) fn new(access_token_ttl: Duration) -> Self {
        Self {
            by_token: Cache::new(REMEMBERED_TOKENS),
            ended: Cache::builder().time_to_live(access_token_ttl + Duration::from_secs(60)).build(),
            epoch: AtomicU64::new(0),
        }
    }

    /// Listens for sessions that end, here or in another process.
    pub(crate) fn follow(self: Arc<Self>, mut heard: broadcast::Receiver<Heard>) {
        let identities = Arc::downgrade(&self);
        tokio::spawn(async move {
            loop {
                let message = heard.recv().await;
                let Some(identities) = identities.upgrade() else { return };
                match message {
                    Ok(Heard::Event(Event::SessionRevoked { session_id })) => identities.end(session_id),
                    Ok(Heard::Event(Event::ExecutionEnded { .. })) => {}
                    // Nobody is forgotten: should the database be away, who was known stays known.
                    Ok(Heard::Lost) | Err(broadcast::error::RecvError::Lagged(_)) => {
                        identities.epoch.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        });
    }

    pub(crate) fn end(&self, session: SessionId) {
        self.ended.insert(session, ());
    }
}

/// Who holds this access token. Refuses with `UNAUTHENTICATED` and the reason.
pub async fn authenticate(app: &App, token: Option<&str>) -> Result<Arc<Identity>> {
    let token = token.ok_or_else(|| Error::unauthenticated(AuthReason::Missing))?;
    let now = app.clock.now();
    let digest = app.tokens.sha256(token.as_bytes());
    let remembered = app.identities.by_token.get(&digest);
    if let Some(identity) = &remembered {
        refuse_ended(app, identity.session_id)?;
        if now.timestamp() >= identity.expires_at {
            return Err(Error::unauthenticated(AuthReason::Expired));
        }
        let epoch = app.identities.epoch.load(Ordering::Relaxed);
        if identity.epoch == epoch && now - identity.checked_at < BELIEVED {
            return Ok(identity.clone());
        }
    }
    let claims = app.tokens.verify(token, now).map_err(Error::unauthenticated)?;
    refuse_ended(app, claims.sid)?;
    match look_up(app, &claims, now).await {
        Ok(identity) => {
            let identity = Arc::new(identity);
            app.identities.by_token.insert(digest, identity.clone());
            Ok(identity)
        }
        // The database is away for a moment: who was known stays known, nobody is signed out.
        Err(error) if error.is_retryable() => remembered.ok_or(error),
        Err(error) => Err(error),
    }
}

fn refuse_ended(app: &App, session: SessionId) -> Result<()> {
    if app.identities.ended.contains_key(&session) {
        return Err(Error::unauthenticated(AuthReason::Revoked));
    }
    Ok(())
}

async fn look_up(app: &App, claims: &Claims, now: Timestamp) -> Result<Identity> {
    // Before looking: what is missed meanwhile must be looked up again.
    let epoch = app.identities.epoch.load(Ordering::Relaxed);
    let mut tx = app.store.system(SystemTask::Authenticate).await?;
    let session = tx.sessions().find(claims.sid).await?;
    let stands = session.is_some_and(|s| !s.revoked && s.expires_at > now && s.user_id == claims.sub);
    let account = tx.accounts().find(claims.sub, claims.org_id).await?;
    let account = account.filter(|account| stands && !account.disabled);
    let account = account.ok_or_else(|| Error::unauthenticated(AuthReason::Revoked))?;
    Ok(Identity { account, session_id: claims.sid, expires_at: claims.exp, checked_at: now, epoch })
}
