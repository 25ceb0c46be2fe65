//! Keeping secrets: encryption at rest, and hashes that nobody without our key can compute.

use crate::error::Result;

pub trait Secrets: Send + Sync {
    /// Encrypts for one row, such as `signing_keys/<id>`; what is moved to another row does not open.
    fn seal(&self, plain: &[u8], row: &str) -> Result<Vec<u8>>;

    /// None when it was sealed with another key, for another row, or changed since.
    fn open(&self, sealed: &[u8], row: &str) -> Option<Vec<u8>>;

    /// HMAC-SHA-256 under `API_KEY_PEPPER`, told apart by purpose: what is stored of a secret that we gave away.
    fn keyed_hash(&self, purpose: &'static str, secret: &[u8]) -> [u8; 32];
}
