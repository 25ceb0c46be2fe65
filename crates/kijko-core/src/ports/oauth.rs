//! Signing in at a provider's own pages, by the authorization code with PKCE, and whom providers vouched for before.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::accounts::Account;
use crate::domain::ids::UserId;
use crate::domain::oauth::OauthProvider;
use crate::domain::profiles::OutsideIdentity;
use crate::domain::time::Timestamp;
use crate::error::Result;

pub struct AuthorizationRequest<'a> {
    pub redirect_uri: &'a str,
    pub state: &'a str,
    pub nonce: &'a str,
    /// Of the PKCE verifier, S256.
    pub code_challenge: &'a str,
}

/// What the browser came back with, and what shows that it is the one that was sent.
#[derive(Clone, Copy)]
pub struct CodeGrant<'a> {
    pub code: &'a str,
    pub redirect_uri: &'a str,
    pub verifier: &'a str,
    pub nonce: &'a str,
}

/// Those that are set up.
pub type SocialProviders = HashMap<OauthProvider, Arc<dyn SocialProvider>>;

/// Somebody who vouches for people, and no more. Nothing here may be awaited while a transaction is open. What the
/// provider cannot answer is `AUTH_UNAVAILABLE`.
#[async_trait]
pub trait SocialProvider: Send + Sync {
    /// Where a browser signs in; comes back to the redirect URI with a code and the state.
    async fn authorization_url(&self, request: &AuthorizationRequest<'_>) -> Result<String>;

    /// Whom the provider vouches for. Refuses with `OAUTH_CODE_INVALID`.
    async fn identify(&self, grant: &CodeGrant<'_>, now: Timestamp) -> Result<OutsideIdentity>;
}

/// Accounts by what a provider calls them.
#[async_trait]
pub trait IdentityRepo: Send {
    /// As a member of the organisation that they joined first.
    async fn find(&mut self, provider: OauthProvider, account_id: &str) -> Result<Option<Account>>;

    /// False when this account of the provider is somebody's already, or the user has another one there.
    async fn insert(&mut self, provider: OauthProvider, account_id: &str, user: UserId, now: Timestamp)
    -> Result<bool>;
}
