//! Models that programs serve: what every process knows of them.

use async_trait::async_trait;

use crate::domain::offered_models::{OfferedModel, SeenModel};
use crate::domain::time::Timestamp;
use crate::error::Result;

#[async_trait]
pub trait OfferedModelRepo: Send {
    async fn find(&mut self, names: &[&str]) -> Result<Vec<SeenModel>>;

    /// By name, at most 500.
    async fn list(&mut self) -> Result<Vec<SeenModel>>;
}

#[async_trait]
pub trait AnnouncedModelRepo: Send {
    /// Whoever serves them lives.
    async fn announce(&mut self, models: &[OfferedModel], now: Timestamp) -> Result<()>;

    /// The names of those that were seen since then.
    async fn seen_since(&mut self, since: Timestamp) -> Result<Vec<String>>;

    async fn delete_older(&mut self, before: Timestamp) -> Result<u64>;
}
