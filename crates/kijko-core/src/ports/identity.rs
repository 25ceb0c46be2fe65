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

    /// A new key pair, in PEM.
    fn generate_key(&self) -> Result<SecretString>;

    /// From now on the first of these signs, and all of them verify.
    fn use_keys(&self, pems: &[SecretString]) -> Result<()>;

    fn sign(&self, claims: &Claims) -> Result<String>;

    /// Everything but whether the session still stands. Says why a token is refused.
    fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, AuthReason>;

    /// The same for a token that may have expired, which is enough to sign out with.
    fn verify_expired(&self, token: &str, now: Timestamp) -> Result<Claims, AuthReason>;

    /// Whether the token names a key that is not among ours: perhaps one that another process began to sign with.
    fn names_unknown_key(&self, token: &str) -> bool;

    /// The public keys, as a JSON Web Key Set.
    fn jwks(&self) -> serde_json::Value;

    fn sha256(&self, bytes: &[u8]) -> [u8; 32];

    /// The keyed hash from which refresh tokens are made; the same on every process of an installation.
    fn mac(&self, purpose: &'static str, message: &[u8]) -> [u8; 32];
}

/// Key pairs, encrypted.
#[async_trait]
pub trait SigningKeyRepo: Send {
    /// The one that signs first, then those that still verify.
    async fn published(&mut self, now: Timestamp) -> Result<Vec<StoredSigningKey>>;

    /// False when another process was first.
    async fn insert(&mut self, key: &StoredSigningKey, note: Option<&str>, now: Timestamp) -> Result<bool>;

    /// The one that signs no longer does; it and those before it verify until then at most.
    async fn retire(&mut self, now: Timestamp, published_until: Timestamp) -> Result<()>;

    /// Those that no longer verify.
    async fn delete_unpublished(&mut self, now: Timestamp) -> Result<()>;
}

#[derive(Clone, Debug)]
pub struct StoredSigningKey {
    pub id: SigningKeyId,
    pub encrypted: Vec<u8>,
    /// None for the one that signs.
    pub published_until: Option<Timestamp>,
}
