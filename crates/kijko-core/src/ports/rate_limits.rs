//! Counting requests. It always answers: a store that fails is stood in for by one that does not.

use async_trait::async_trait;

use crate::domain::limits::{Answer, Question};
use crate::domain::time::Timestamp;
use crate::error::Result;

#[async_trait]
pub trait RateLimits: Send + Sync {
    /// Counts the request in all windows asked for if each has room, else in none. Counting and deciding are one step:
    /// however many ask at once, exactly as many are let in as the limit says.
    async fn count(&self, question: &Question, now: Timestamp) -> Answer;

    /// Asks the store that several processes share whether it is there. None when there is no such store.
    async fn probe(&self) -> Option<Result<()>>;
}
