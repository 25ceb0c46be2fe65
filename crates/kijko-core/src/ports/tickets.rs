//! Tickets: single-use secrets. Use them through `services::tickets`, which makes, hashes and seals.

use async_trait::async_trait;

use crate::domain::ids::UserId;
use crate::domain::tickets::{Ticket, TicketKind};
use crate::domain::time::Timestamp;
use crate::error::Result;

#[async_trait]
pub trait TicketRepo: Send {
    async fn insert(&mut self, ticket: &Ticket) -> Result<()>;

    /// Uses a ticket up. None when it is unknown, used, expired, or good for something else; of several who try at once
    /// one gets it.
    async fn redeem(&mut self, kind: TicketKind, hash: &[u8; 32], now: Timestamp) -> Result<Option<Ticket>>;

    /// Uses up every open ticket of a user, for nothing.
    async fn discard(&mut self, user: UserId, now: Timestamp) -> Result<()>;

    /// Removes those that expired before this moment.
    async fn purge(&mut self, before: Timestamp) -> Result<()>;
}
