//! Proofs of identity: passwords, access tokens, and the keys that sign them.

use async_trait::async_trait;
use secrecy::SecretString;

use crate::domain::ids::SigningKeyId;
use crate::domain::sessions::Claims;
use crate::domain::time::Timestamp;
use crate::error::{AuthReason, Result};

/// Slow on purpose, so it never runs on the threads that serve requests.
#[async_trait]
pub trait Passwords: Send + Sync {
    async fn hash(&self, password: SecretString) -> Result<String>;

    /// Against a stored hash, or against a dummy of the same cost when there is none.
    async fn verify(&self, password: SecretString, hash: Option<String>) -> Result<Verified>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    Wrong,
    Right,
    /// Right, but hashed with older parameters.
    RightButOutdated,
}

/// Signs and verifies access tokens. RS256 only: the algorithm is ours to choose, never the token's.
pub trait AccessTokens: Send + Sync {
    /// Our own origin, as the tokens name it.
    fn issuer(&self) -> &str;

    fn sign(&self, claims: &Claims) -> Result<String>;

    /// Everything but whether the session still stands. Says why a token is refused.
    fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, AuthReason>;

    /// The same for a token that may have expired, which is enough to sign out with.
    fn verify_expired(&self, token: &str, now: Timestamp) -> Result<Claims, AuthReason>;

    /// The public keys, as a JSON Web Key Set.
    fn jwks(&self) -> serde_json::Value;

    fn sha256(&self, bytes: &[u8]) -> [u8; 32];

    /// The keyed hash from which refresh tokens are made; the same on every process of an installation.
    fn mac(&self, purpose: &'static str, message: &[u8]) -> [u8; 32];
}

/// Key pairs, encrypted.
#[async_trait]
pub trait SigningKeyRepo: Send {
    async fn active(&mut self) -> Result<Option<(SigningKeyId, Vec<u8>)>>;

    /// False when another process was first.
    async fn insert(&mut self, id: SigningKeyId, encrypted: &[u8], now: Timestamp) -> Result<bool>;
}
