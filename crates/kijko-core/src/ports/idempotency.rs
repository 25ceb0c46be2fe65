//! Replies that a repeated request gets again.

use async_trait::async_trait;

use crate::domain::idempotency::{IdempotencyKey, KeptReply};
use crate::domain::time::Timestamp;
use crate::error::Result;

#[async_trait]
pub trait IdempotencyRepo: Send {
    /// The reply kept since `after`; later callers with the same key wait until this transaction ends.
    async fn find(&mut self, key: &IdempotencyKey, after: Timestamp) -> Result<Option<KeptReply>>;

    /// Keeps a reply in place of an older one.
    async fn upsert(&mut self, key: &IdempotencyKey, reply: &KeptReply, now: Timestamp) -> Result<()>;
}

#[async_trait]
pub trait OldRepliesRepo: Send {
    /// Forgets what was kept before then, of everybody; says how many.
    async fn delete_before(&mut self, moment: Timestamp) -> Result<u64>;
}
