//! Mail: the outbox, which is part of a transaction, and whoever sends what is in it.

use async_trait::async_trait;

use crate::domain::ids::MailId;
use crate::domain::mails::Mail;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// Use it through `services::mails::enqueue`, which seals.
#[async_trait]
pub trait Outbox: Send {
    /// Sent by a job once this transaction commits, and never if it does not.
    async fn put(&mut self, id: MailId, sealed: &[u8], now: Timestamp) -> Result<()>;
}

/// For the job that sends.
#[async_trait]
pub trait MailRepo: Send {
    /// A mail that is still to be sent.
    async fn find(&mut self, id: MailId) -> Result<Option<QueuedMail>>;

    /// It was sent.
    async fn delete(&mut self, id: MailId) -> Result<()>;

    /// It was not; for good when `dead_at` is given.
    async fn note_failure(&mut self, id: MailId, dead_at: Option<Timestamp>) -> Result<()>;

    /// Removes what was given up before this moment.
    async fn purge(&mut self, before: Timestamp) -> Result<()>;
}

pub struct QueuedMail {
    pub sealed: Vec<u8>,
    /// How often it was tried in vain.
    pub attempts: i32,
}

#[async_trait]
pub trait Mailer: Send + Sync {
    /// Hands over one mail. The id goes with it, so that a receiver can tell that a mail came twice.
    async fn send(&self, id: MailId, mail: &Mail) -> Result<(), MailError>;
}

/// Says what happened without repeating what the other side said, which may name the recipient.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// The same may succeed later.
    #[error("{0}")]
    Temporary(String),
    #[error("{0}")]
    Permanent(String),
}
