//! Accounts, looked at before an organisation is known.

use async_trait::async_trait;

use crate::domain::accounts::{Account, User};
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::organizations::Organization;
use crate::domain::time::Timestamp;
use crate::error::Result;

#[async_trait]
pub trait AccountRepo: Send {
    /// The user with this address and their password hash.
    async fn find_by_email(&mut self, email: &str) -> Result<Option<(Account, Option<String>)>>;

    /// The user as a member of this organisation; without membership when they no longer are.
    async fn find(&mut self, user: UserId, organization: OrganizationId) -> Result<Option<Account>>;

    /// A user with an organisation of their own, as its owner; without a hash no password is right.
    /// Refuses with `EMAIL_TAKEN`.
    async fn insert(
        &mut self,
        user: &User,
        hash: Option<&str>,
        organization: &Organization,
        now: Timestamp,
    ) -> Result<()>;

    /// The address is known to be theirs.
    async fn confirm_email(&mut self, user: UserId, now: Timestamp) -> Result<()>;

    /// A user without an organisation, who is about to join one. Refuses with `EMAIL_TAKEN`.
    async fn insert_person(&mut self, user: &User, hash: Option<&str>, now: Timestamp) -> Result<()>;

    async fn password_hash(&mut self, user: UserId) -> Result<Option<String>>;

    /// The same by address, and nothing beside it: reading more would take longer where there is an account.
    async fn password_hash_by_email(&mut self, email: &str) -> Result<Option<String>>;

    /// Whether this still is their hash; nobody changes it before this transaction ends.
    async fn has_password_hash(&mut self, user: UserId, hash: &str) -> Result<bool>;

    /// From now on no password is right.
    async fn forget_password(&mut self, user: UserId, now: Timestamp) -> Result<()>;

    async fn set_password_hash(&mut self, user: UserId, hash: &str, now: Timestamp) -> Result<()>;
}
