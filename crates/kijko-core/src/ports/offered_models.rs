//! Models that programs serve: what every process knows of them.

use async_trait::async_trait;

use crate::domain::offered_models::{OfferedModel, SeenModel};
use crate::domain::time::Timestamp;
use crate::error::Result;

#[async_trait]
pub trait OfferedModelRepo: Send {
    async fn find(&mut self, name: &str) -> Result<Option<SeenModel>>;

    /// By name, at most 500.
    async fn list(&mut self) -> Result<Vec<SeenModel>>;
}

#[async_trait]
pub trait AnnouncedModelRepo: Send {
    /// Whoever serves them lives.
    async fn announce(&mut self, models: &[OfferedModel], now: Timestamp) -> Result<()>;

    async fn delete_older(&mut self, before: Timestamp) -> Result<u64>;

    /// Lets any worker take the jobs that wait for a program which was not seen since then.
    async fn release_jobs(&mut self, seen_since: Timestamp) -> Result<u64>;
}
