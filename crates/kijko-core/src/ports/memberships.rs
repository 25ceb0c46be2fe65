//! Where somebody belongs, looked at before an organisation is entered.

use async_trait::async_trait;

use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::organizations::{Organization, OrganizationMembership};
use crate::domain::time::Timestamp;
use crate::error::Result;

#[async_trait]
pub trait MembershipRepo: Send {
    /// Where the user is an active member, in the order of joining; `current` says where they work now.
    async fn list(&mut self, user: UserId, current: Option<OrganizationId>) -> Result<Vec<OrganizationMembership>>;

    /// Until this transaction ends, nobody else founds an organisation for this user.
    async fn hold(&mut self, user: UserId) -> Result<()>;

    /// A new organisation with this user as its owner.
    async fn found(&mut self, user: UserId, organization: &Organization, now: Timestamp) -> Result<()>;

    /// Notes that the user was there just now. False when they are no active member, and until this transaction ends
    /// nobody can end their membership unseen.
    async fn note_activity(&mut self, user: UserId, organization: OrganizationId, now: Timestamp) -> Result<bool>;
}
