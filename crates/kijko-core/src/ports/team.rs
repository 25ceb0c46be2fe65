//! The organisation in the context, and who belongs to it.

use async_trait::async_trait;

use crate::domain::ids::{MemberId, SessionId, UserId};
use crate::domain::team::{MemberChange, Team, TeamMember, TeamStats};
use crate::domain::time::Timestamp;
use crate::error::Result;

#[async_trait]
pub trait TeamRepo: Send {
    async fn find(&mut self) -> Result<Team>;

    /// The same, and nobody else changes the team until this transaction ends: what is counted stays so.
    async fn hold(&mut self) -> Result<Team>;

    async fn rename(&mut self, name: &str, now: Timestamp) -> Result<()>;

    /// `max_seats` is that of the team.
    async fn stats(&mut self, max_seats: i64, now: Timestamp) -> Result<TeamStats>;

    async fn count_active_owners(&mut self) -> Result<i64>;
}

/// Members; who was removed is none.
#[async_trait]
pub trait MemberRepo: Send {
    /// Active, pending, inactive; then from owner to viewer. At most 500.
    async fn list(&mut self) -> Result<Vec<TeamMember>>;

    async fn find(&mut self, id: MemberId) -> Result<Option<TeamMember>>;

    /// The place of this person.
    async fn find_by_user(&mut self, user: UserId) -> Result<Option<TeamMember>>;

    /// False when the database does not let the caller do this.
    async fn change(&mut self, member: &TeamMember, change: MemberChange) -> Result<bool>;

    /// Makes this person the owner and the caller an admin. False when the database does not let the caller do this.
    async fn transfer_ownership(&mut self, to: UserId) -> Result<bool>;

    /// Ends every session here of a person who is no active member any more, and says which.
    async fn end_sessions(&mut self, user: UserId, now: Timestamp) -> Result<Vec<SessionId>>;
}
