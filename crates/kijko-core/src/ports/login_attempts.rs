//! Attempts to sign in, before an organisation is known.

use async_trait::async_trait;

use crate::domain::ids::LoginAttemptId;
use crate::domain::login_attempts::{AccountHash, Failures, LoginAttempt};
use crate::domain::sessions::Origin;
use crate::domain::time::Timestamp;
use crate::error::Result;

#[async_trait]
pub trait LoginAttemptRepo: Send {
    async fn failures(&mut self, account: &AccountHash) -> Result<Option<Failures>>;

    /// Counts one more, however many do at the same time; begins anew when the last one is older than `forgotten`.
    async fn add_failure(&mut self, account: &AccountHash, now: Timestamp, forgotten: Timestamp) -> Result<Failures>;

    async fn clear_failures(&mut self, account: &AccountHash) -> Result<()>;

    /// Removes counts whose last failure is older; says how many.
    async fn delete_failures_before(&mut self, moment: Timestamp) -> Result<u64>;

    /// Removes attempts from before this moment.
    async fn purge(&mut self, before: Timestamp) -> Result<()>;

    async fn insert(&mut self, id: LoginAttemptId, attempt: &LoginAttempt, origin: &Origin) -> Result<()>;
}
