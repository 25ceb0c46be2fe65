//! Invitations: of the organisation in the context, and as their secrets find them.

use async_trait::async_trait;

use crate::domain::ids::{InvitationId, OrganizationId, UserId};
use crate::domain::invitations::{Invited, TeamInvitation};
use crate::domain::plans::Plan;
use crate::domain::team::TeamMember;
use crate::domain::time::Timestamp;
use crate::error::Result;

#[async_trait]
pub trait InvitationRepo: Send {
    /// Pending ones first, then the newest. At most 500.
    async fn list(&mut self, now: Timestamp) -> Result<Vec<TeamInvitation>>;

    async fn find(&mut self, id: InvitationId, now: Timestamp) -> Result<Option<TeamInvitation>>;

    /// Which of the addresses belong to members, and which are invited already.
    async fn taken(&mut self, emails: &[String], now: Timestamp) -> Result<Taken>;

    /// In the caller's name. Refuses with `INVITATION_EXISTS`.
    async fn insert(&mut self, invitation: &TeamInvitation, token_hash: &[u8; 32]) -> Result<()>;

    /// Replaces the secret; the one before is worth nothing any more.
    async fn renew(&mut self, id: InvitationId, token_hash: &[u8; 32], expires_at: Timestamp) -> Result<()>;

    async fn cancel(&mut self, id: InvitationId) -> Result<()>;

    /// Notes of pending ones whose time is over that they have expired, so that their addresses can be invited again.
    async fn expire(&mut self, now: Timestamp) -> Result<()>;
}

#[derive(Clone, Debug, Default)]
pub struct Taken {
    pub members: Vec<String>,
    pub invited: Vec<String>,
}

/// For somebody who holds a secret and does not belong to the organisation yet.
#[async_trait]
pub trait JoinRepo: Send {
    async fn find(&mut self, token_hash: &[u8; 32]) -> Result<Option<Invited>>;

    /// Nobody else changes the team until this transaction ends.
    async fn hold(&mut self, organization: OrganizationId) -> Result<()>;

    /// The plan of the organisation, and how many members hold a seat; invitations hold none here.
    async fn seats(&mut self, organization: OrganizationId) -> Result<(Plan, i64)>;

    /// Makes the person a member, again if they were removed before, and the invitation accepted.
    /// None when they are a member already.
    async fn join(&mut self, invited: &Invited, user: UserId, now: Timestamp) -> Result<Option<TeamMember>>;
}
