//! People and organisations across all tenants, for whoever runs the installation.

use async_trait::async_trait;

use crate::domain::administration::{MembershipRecord, OrganizationRecord, UserRecord, UserRef};
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::page::{Listed, Page};
use crate::domain::plans::Plan;
use crate::domain::time::Timestamp;
use crate::error::Result;

#[async_trait]
pub trait AllUsersRepo: Send {
    async fn find(&mut self, who: &UserRef) -> Result<Option<UserRecord>>;

    /// Newest first; `search` is part of a name or an address.
    async fn list(&mut self, search: &str, page: Page) -> Result<Listed<UserRecord>>;

    async fn memberships(&mut self, user: UserId) -> Result<Vec<MembershipRecord>>;

    async fn set_disabled(&mut self, user: UserId, disabled_at: Option<Timestamp>, now: Timestamp) -> Result<()>;

    async fn set_platform_admin(&mut self, user: UserId, is_platform_admin: bool, now: Timestamp) -> Result<()>;

    /// Ends every session of the person, in every organisation; says how many.
    async fn end_sessions(&mut self, user: UserId, now: Timestamp) -> Result<u64>;
}

#[async_trait]
pub trait AllOrganizationsRepo: Send {
    async fn find(&mut self, id: OrganizationId) -> Result<Option<OrganizationRecord>>;

    /// Newest first; `search` is part of the name.
    async fn list(&mut self, search: &str, page: Page) -> Result<Listed<OrganizationRecord>>;

    async fn members(&mut self, id: OrganizationId) -> Result<Vec<MembershipRecord>>;

    async fn set_plan(&mut self, id: OrganizationId, plan: Plan, now: Timestamp) -> Result<()>;
}
