//! Who is calling. The only place that makes a `TenantContext`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use moka::sync::Cache;
use tokio::sync::broadcast;
use tokio::time::timeout;

use crate::app::App;
use crate::context::{Actor, TenantContext};
use crate::domain::accounts::Account;
use crate::domain::administration::UserRef;
use crate::domain::api_keys::{KeyEnvironment, PREFIX, Scope};
use crate::domain::events::Event;
use crate::domain::ids::{ApiKeyId, OrganizationId, SessionId, UserId};
use crate::domain::sessions::{AuthMethod, Claims, Origin};
use crate::domain::time::Timestamp;
use crate::error::{AuthReason, Code, Error, Result};
use crate::ports::SystemTask;
use crate::ports::events::Heard;
use crate::ports::realms::Realm;
use crate::services::{api_keys, realm_accounts, signing_keys};

/// How long an identity may be believed without asking the database again. What ends it is announced, and then
/// effective at once; this bounds what was not announced.
const BELIEVED: TimeDelta = TimeDelta::seconds(30);
const KEY_BELIEVED: TimeDelta = TimeDelta::seconds(5);
/// How long who is known waits for a database that may be away.
const PATIENCE: Duration = Duration::from_secs(2);
const REMEMBERED_TOKENS: u64 = 50_000;

/// The principal: somebody who proved who they are.
#[derive(Debug)]
pub struct Identity {
    pub account: Account,
    pub credential: Credential,
    pub auth_method: AuthMethod,
    /// What an API key is limited to; None for a session, which may do all that the role allows.
    pub scopes: Option<Vec<Scope>>,
    expires_at: Option<Timestamp>,
    checked_at: Timestamp,
    /// Of `Identities`, when this was looked up.
    moment: u64,
}

/// With what they proved it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    Session(SessionId),
    ApiKey(ApiKeyId),
}

impl Identity {
    /// The key to the data of their organisation. Refuses with `NO_ORGANIZATION`.
    pub fn context(&self, origin: Origin) -> Result<TenantContext> {
        let membership = self.account.membership.as_ref().ok_or(Error::Forbidden { code: Code::NoOrganization })?;
        let actor = Actor::User { role: membership.role, by_api_key: self.api_key_id().is_some() };
        Ok(TenantContext::new(membership.organization.id, self.account.user.id, actor, Some(origin)))
    }

    /// Whether the credential goes so far; what the role allows is another question.
    pub fn holds(&self, needed: Scope) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(|scope| scope.covers(needed)))
    }

    /// None for an API key.
    pub fn session_id(&self) -> Option<SessionId> {
        match self.credential {
            Credential::Session(id) => Some(id),
            Credential::ApiKey(_) => None,
        }
    }

    /// None for a session.
    pub fn api_key_id(&self) -> Option<ApiKeyId> {
        match self.credential {
            Credential::ApiKey(id) => Some(id),
            Credential::Session(_) => None,
        }
    }
}

/// Whoever runs this installation, with `kijko`, and why they do what they do.
#[derive(Clone, Debug)]
pub struct Operator {
    pub name: String,
    pub reason: String,
}

impl std::fmt::Display for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

/// The context of what an operator does for this person in this organisation. Refuses with `NOT_FOUND`.
pub async fn as_operator(
    app: &App,
    operator: &Operator,
    user: &UserRef,
    organization: Option<OrganizationId>,
) -> Result<TenantContext> {
    let not_found = || Error::not_found(Code::NotFound);
    let mut tx = app.store.system(SystemTask::Administer).await?;
    let user = tx.all_users().find(user).await?.ok_or_else(not_found)?;
    let memberships = tx.all_users().memberships(user.id).await?;
    let mut active = memberships.iter().filter(|membership| membership.status == "active");
    let membership = active.find(|membership| organization.is_none_or(|id| id == membership.organization_id));
    let organization = membership.ok_or_else(not_found)?.organization_id;
    let actor = Actor::Operator { reason: operator.to_string() };
    Ok(TenantContext::new(organization, user.id, actor, None))
}

/// The context of work that the person began earlier, such as a run of their skill.
pub(crate) fn for_job(organization: OrganizationId, user: UserId) -> TenantContext {
    TenantContext::new(organization, user, Actor::Job, None)
}

/// What this process remembers of tokens, so that a request costs no look-up.
pub struct Identities {
    by_token: Cache<[u8; 32], Arc<Identity>>,
    /// What was ended, for as long as a token of it could be remembered.
    ended: Cache<Credential, ()>,
    /// When something about a person was announced; who was looked up before is looked up again.
    changed: Cache<UserId, u64>,
    /// When something may have been missed; everybody who was looked up before is looked up again.
    missed: AtomicU64,
    /// Counts announcements, so that a look-up can be told from what was announced after it began.
    moment: AtomicU64,
}

impl Identities {
    pub(crate) fn new(access_token_ttl: Duration) -> Self {
        let life = access_token_ttl + Duration::from_secs(60);
        Self {
            by_token: Cache::new(REMEMBERED_TOKENS),
            ended: Cache::builder().time_to_live(life).build(),
            changed: Cache::builder().time_to_live(life).build(),
            missed: AtomicU64::new(0),
            moment: AtomicU64::new(0),
        }
    }

    /// Listens for what ends or changes an identity, here or in another process.
    pub(crate) fn follow(self: Arc<Self>, mut heard: broadcast::Receiver<Heard>) {
        let identities = Arc::downgrade(&self);
        tokio::spawn(async move {
            loop {
                let message = heard.recv().await;
                let Some(identities) = identities.upgrade() else { return };
                match message {
                    Ok(Heard::Event(event)) => identities.hear(&event),
                    // Nobody is forgotten: should the database be away, who was known stays known.
                    Ok(Heard::Lost) | Err(broadcast::error::RecvError::Lagged(_)) => {
                        identities.forget_all();
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        });
    }

    fn hear(&self, event: &Event) {
        match event {
            Event::SessionRevoked { session_id } => self.end(Credential::Session(*session_id)),
            Event::ApiKeyRevoked { api_key_id } => self.end(Credential::ApiKey(*api_key_id)),
            Event::UserChanged { user_id } => self.forget(*user_id),
            Event::BudgetReached { .. } | Event::ExecutionEnded { .. } | Event::SigningKeysChanged => {}
        }
    }

    /// Refuses this credential from now on. Say so to the other processes with an event.
    pub(crate) fn end(&self, credential: Credential) {
        self.ended.insert(credential, ());
    }

    /// Looks this person up again before believing anything of them. Say so to the other processes with an event.
    pub(crate) fn forget(&self, user: UserId) {
        self.changed.insert(user, self.next_moment());
    }

    /// Looks everybody up again before believing anything of them.
    pub(crate) fn forget_all(&self) {
        self.missed.store(self.next_moment(), Ordering::Release);
    }

    fn next_moment(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn moment(&self) -> u64 {
        self.moment.load(Ordering::Acquire)
    }

    /// Whether something about this very person was announced since they were looked up.
    fn is_outdated(&self, identity: &Identity) -> bool {
        self.changed.get(&identity.account.user.id).is_some_and(|moment| moment > identity.moment)
    }

    fn is_fresh(&self, identity: &Identity, now: Timestamp) -> bool {
        let believed = match identity.credential {
            Credential::Session(_) => BELIEVED,
            Credential::ApiKey(_) => KEY_BELIEVED,
        };
        identity.moment >= self.missed.load(Ordering::Acquire) && now - identity.checked_at < believed
    }
}

/// Who holds this access token or API key. Refuses with `UNAUTHENTICATED` and the reason.
pub async fn authenticate(app: &App, token: Option<&str>) -> Result<Arc<Identity>> {
    let token = token.ok_or_else(|| Error::unauthenticated(AuthReason::Missing))?;
    let now = app.clock.now();
    let identity = identify(app, token, now).await?;
    if let (Some(id), Some(membership)) = (identity.api_key_id(), &identity.account.membership) {
        app.key_uses.note(membership.organization.id, id, now);
    }
    Ok(identity)
}

/// From what is remembered, or by looking it up.
async fn identify(app: &App, token: &str, now: Timestamp) -> Result<Arc<Identity>> {
    let digest = app.tokens.sha256(token.as_bytes());
    let remembered = app.identities.by_token.get(&digest).filter(|identity| !app.identities.is_outdated(identity));
    if let Some(identity) = &remembered {
        refuse_ended(app, identity.credential)?;
        if identity.expires_at.is_some_and(|end| end <= now) {
            return Err(refusal(identity.credential, AuthReason::Expired));
        }
        if app.identities.is_fresh(identity, now) {
            return Ok(identity.clone());
        }
    }
    let looked_up = match &remembered {
        Some(_) => timeout(PATIENCE, look_up(app, token, now))
            .await
            .unwrap_or_else(|late| Err(Error::unavailable(Code::DependencyUnavailable, late))),
        None => look_up(app, token, now).await,
    };
    match looked_up {
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

fn refuse_ended(app: &App, credential: Credential) -> Result<()> {
    if app.identities.ended.contains_key(&credential) {
        return Err(refusal(credential, AuthReason::Revoked));
    }
    Ok(())
}

/// Whoever holds an API key that is not good learns no more than that.
fn refusal(credential: Credential, reason: AuthReason) -> Error {
    match credential {
        Credential::Session(_) => Error::unauthenticated(reason),
        Credential::ApiKey(_) => Error::unauthenticated(AuthReason::ApiKey),
    }
}

async fn look_up(app: &App, token: &str, now: Timestamp) -> Result<Identity> {
    if looks_like_a_key(token) {
        return look_up_key(app, token, now).await;
    }
    if let Some(realm) = &app.realm {
        return look_up_realm(app, realm, token, now).await;
    }
    let claims = signing_keys::verify(app, token, now).await?;
    refuse_ended(app, Credential::Session(claims.sid))?;
    look_up_session(app, &claims, now).await
}

async fn look_up_session(app: &App, claims: &Claims, now: Timestamp) -> Result<Identity> {
    // Before looking: what is announced meanwhile must be looked up again.
    let moment = app.identities.moment();
    let mut tx = app.store.system(SystemTask::Authenticate).await?;
    let session = tx.sessions().find(claims.sid).await?;
    let session = session.filter(|s| !s.revoked && s.expires_at > now && s.user_id == claims.sub);
    let account = tx.accounts().find(claims.sub, claims.org_id).await?.filter(|account| !account.disabled);
    let (Some(session), Some(account)) = (session, account) else {
        return Err(Error::unauthenticated(AuthReason::Revoked));
    };
    Ok(Identity {
        account,
        credential: Credential::Session(session.id),
        auth_method: session.auth_method,
        scopes: None,
        expires_at: Timestamp::from_timestamp(claims.exp, 0),
        checked_at: now,
        moment,
    })
}

/// No access token begins like this, in any case.
fn looks_like_a_key(token: &str) -> bool {
    token.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// A key acts as the person who made it, with the role that they have now, in the organisation that it was made in.
async fn look_up_key(app: &App, text: &str, now: Timestamp) -> Result<Identity> {
    let refused = || Error::unauthenticated(AuthReason::ApiKey);
    KeyEnvironment::of(text).filter(|of| *of == api_keys::environment(app)).ok_or_else(refused)?;
    let hash = api_keys::hash_of(app, text);
    let moment = app.identities.moment();
    let mut tx = app.store.system(SystemTask::Authenticate).await?;
    let key = tx.api_keys().find_by_hash(&hash).await?.filter(|key| key.is_live(now)).ok_or_else(refused)?;
    refuse_ended(app, Credential::ApiKey(key.id))?;
    let account = tx.accounts().find(key.user_id, key.organization_id).await?;
    let account = account.filter(|account| !account.disabled && account.membership.is_some());
    let mut account = account.ok_or_else(refused)?;
    // A key belongs to one organisation; what staff may do everywhere needs a session.
    account.user.is_platform_admin = false;
    Ok(Identity {
        account,
        credential: Credential::ApiKey(key.id),
        auth_method: AuthMethod::ApiKey,
        scopes: Some(key.scopes),
        expires_at: key.expires_at,
        checked_at: now,
        moment,
    })
}

/// The same for a token of the realm, which may be of a sign-in that was not made here.
async fn look_up_realm(app: &App, realm: &Realm, token: &str, now: Timestamp) -> Result<Identity> {
    let claims = realm.verifier.verify(token, now).await?;
    refuse_ended(app, Credential::Session(claims.session_id))?;
    let moment = app.identities.moment();
    let account = realm_accounts::find_or_make(app, realm, &claims, now).await?;
    let mut tx = app.store.system(SystemTask::Authenticate).await?;
    let session = tx.sessions().find(claims.session_id).await?;
    let ended = tx.realm_sessions().find(claims.session_id).await?.is_some_and(|session| session.ended);
    let revoked = session.as_ref().is_some_and(|session| session.revoked || session.user_id != account.user.id);
    if ended || revoked || account.disabled {
        return Err(Error::unauthenticated(AuthReason::Revoked));
    }
    Ok(Identity {
        account,
        credential: Credential::Session(claims.session_id),
        auth_method: session.map_or(AuthMethod::Sso, |session| session.auth_method),
        scopes: None,
        expires_at: Some(claims.expires_at),
        checked_at: now,
        moment,
    })
}
