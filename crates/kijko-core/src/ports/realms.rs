//! An outside identity provider: who its tokens name, what it gives for a grant, and what we keep of it.

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::domain::accounts::{Account, NewAccount, User};
use crate::domain::ids::{OrganizationId, SessionId, UserId};
use crate::domain::organizations::Organization;
use crate::domain::profiles::Profile;
use crate::domain::realms::{Namesake, RealmClaims, RealmSession, RealmTokens};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ports::oauth::{AuthorizationRequest, CodeGrant};

/// The outside identity provider of this installation.
#[derive(Clone)]
pub struct Realm {
    pub verifier: Arc<dyn RealmTokenVerifier>,
    pub client: Arc<dyn RealmClient>,
}

/// Tells the realm's access tokens from all others. Calls the realm only when it has no key that fits.
#[async_trait]
pub trait RealmTokenVerifier: Send + Sync {
    /// Refuses with `UNAUTHENTICATED` and the reason; with `AUTH_UNAVAILABLE` while there is no key at all.
    async fn verify(&self, token: &str, now: Timestamp) -> Result<RealmClaims>;

    /// The same for a token that may have expired, which is enough to sign out with.
    async fn verify_expired(&self, token: &str, now: Timestamp) -> Result<RealmClaims>;

    /// Asks the realm whether it is there; not more often than every few seconds.
    async fn health(&self) -> RealmHealth;
}

/// Speaks to the realm as its client. Nothing here may be awaited while a transaction is open. What the realm cannot
/// answer is `AUTH_UNAVAILABLE`.
#[async_trait]
pub trait RealmClient: Send + Sync {
    /// Where a browser signs in; comes back to the redirect URI with a code and the state. With a broker, the realm sends
    /// it on to that provider at once.
    fn authorization_url(&self, request: &AuthorizationRequest<'_>, broker: Option<&str>) -> Result<String>;

    /// Refuses with `INVALID_CREDENTIALS`, `OAUTH_CODE_INVALID` or `REFRESH_TOKEN_INVALID`, by the kind of grant.
    async fn redeem(&self, grant: Grant<'_>, now: Timestamp) -> Result<RealmTokens>;

    /// Gives the realm's name for the new user. Refuses with `EMAIL_TAKEN`, and `VALIDATION_ERROR` for a password that
    /// the realm does not take.
    async fn create_user(&self, new: &NewAccount) -> Result<String>;

    async fn delete_user(&self, subject: &str) -> Result<()>;

    /// Which organisation the next tokens of this user name.
    async fn set_organization(&self, subject: &str, organization: OrganizationId) -> Result<()>;

    /// Ends a sign-in; one that has ended already is fine.
    async fn end_session(&self, sid: &str) -> Result<()>;
}

/// What is exchanged for tokens.
pub enum Grant<'a> {
    Code(CodeGrant<'a>),
    /// Only for the front end's own form, where the realm allows it.
    Password {
        email: &'a str,
        password: &'a SecretString,
    },
    Refresh {
        token: &'a SecretString,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealmHealth {
    pub reachable: bool,
    /// Whether access tokens can be verified without it.
    pub keys_cached: bool,
}

/// Users by the realm's name for them.
#[async_trait]
pub trait RealmUserRepo: Send {
    /// As a member of this organisation, or of the one they joined first; without membership when there is none.
    async fn find(&mut self, subject: &str, organization: Option<OrganizationId>) -> Result<Option<Account>>;

    async fn find_namesake(&mut self, email: &str) -> Result<Option<Namesake>>;

    /// False when either of them is linked already.
    async fn link(&mut self, user: UserId, subject: &str, now: Timestamp) -> Result<bool>;

    /// With an organisation of their own, if one is given. False when another process was first.
    async fn insert(
        &mut self,
        user: &User,
        subject: &str,
        organization: Option<&Organization>,
        now: Timestamp,
    ) -> Result<bool>;

    /// Takes over names, a verified address, and that the address is verified.
    async fn follow(&mut self, user: UserId, profile: &Profile, now: Timestamp) -> Result<()>;
}

/// Sign-ins at the realm, by our id for them.
#[async_trait]
pub trait RealmSessionRepo: Send {
    async fn find(&mut self, id: SessionId) -> Result<Option<RealmSession>>;

    /// Keeps these tokens, and lets go of a claim. False when the session has ended.
    async fn keep(&mut self, id: SessionId, sid: &str, sealed: &[u8], until: Timestamp) -> Result<bool>;

    /// The right to exchange the kept tokens, for one at a time. False while somebody else holds it.
    async fn claim(&mut self, id: SessionId, now: Timestamp, until: Timestamp) -> Result<bool>;

    async fn release(&mut self, id: SessionId) -> Result<()>;

    /// Refused from now on, also if it was never seen before. The kept tokens are forgotten.
    async fn end(&mut self, id: SessionId, sid: &str, until: Timestamp, now: Timestamp) -> Result<()>;

    /// Removes those that expired before this moment.
    async fn purge(&mut self, before: Timestamp) -> Result<()>;
}
