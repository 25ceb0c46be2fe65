//! API keys: one's own, and what must be known of them across organisations.

use async_trait::async_trait;

use crate::domain::api_keys::{ApiKey, KeyHolder, KeyUse, NewApiKey};
use crate::domain::ids::{ApiKeyId, OrganizationId};
use crate::domain::time::Timestamp;
use crate::error::Result;

/// Those of the person in the context.
#[async_trait]
pub trait ApiKeyRepo: Send {
    /// Those that were not revoked, newest first.
    async fn list(&mut self, now: Timestamp) -> Result<Vec<ApiKey>>;

    /// Neither expired nor revoked; later callers wait until this transaction ends.
    async fn count_live(&mut self, now: Timestamp) -> Result<i64>;

    async fn insert(&mut self, key: &StoredKey<'_>, now: Timestamp) -> Result<()>;

    /// The name of what was revoked; None when there is no such key.
    async fn revoke(&mut self, id: ApiKeyId, now: Timestamp) -> Result<Option<String>>;
}

/// A key on its way into the store: its hash, never itself.
pub struct StoredKey<'a> {
    pub id: ApiKeyId,
    pub hash: [u8; 32],
    pub prefix: &'a str,
    pub new: &'a NewApiKey,
    pub expires_at: Option<Timestamp>,
}

#[async_trait]
pub trait AllApiKeysRepo: Send {
    async fn find_by_hash(&mut self, hash: &[u8; 32]) -> Result<Option<KeyHolder>>;

    /// Those of everybody in the organisation that were not revoked, newest first.
    async fn list(&mut self, organization: OrganizationId, now: Timestamp) -> Result<Vec<ApiKey>>;

    /// The name of what was revoked; None when the organisation has no such key.
    async fn revoke(&mut self, organization: OrganizationId, id: ApiKeyId, now: Timestamp) -> Result<Option<String>>;

    /// Adds to the counts.
    async fn record_use(&mut self, uses: &[KeyUse]) -> Result<()>;
}
