//! The keys for model providers that the organisation in the context brought along; at most one for each provider.

use async_trait::async_trait;

use crate::domain::models::Provider;
use crate::domain::plans::Plan;
use crate::domain::provider_keys::{ProviderKey, SealedProviderKey};
use crate::error::Result;

#[async_trait]
pub trait ProviderKeyRepo: Send {
    async fn list(&mut self) -> Result<Vec<ProviderKey>>;

    /// What decides about a call: the plan, and the keys.
    async fn in_force(&mut self) -> Result<(Plan, Vec<SealedProviderKey>)>;

    /// In the place of the one before. False when the database does not let the caller do this.
    async fn store(&mut self, key: &ProviderKey, sealed: &[u8]) -> Result<bool>;

    /// False when there is none, or the database does not let the caller do this.
    async fn delete(&mut self, provider: Provider) -> Result<bool>;
}
