//! The audit log: only ever added to.

use async_trait::async_trait;

use crate::domain::audit::AuditEntry;
use crate::domain::ids::{AuditLogId, OrganizationId};
use crate::domain::sessions::Origin;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// For sign-ins, which happen before an organisation is entered.
#[async_trait]
pub trait AuditRepo: Send {
    async fn insert(
        &mut self,
        organization: OrganizationId,
        id: AuditLogId,
        entry: &AuditEntry,
        origin: Option<&Origin>,
        now: Timestamp,
    ) -> Result<()>;
}

/// In one's own name, as a member at work.
#[async_trait]
pub trait OwnAuditRepo: Send {
    /// `entry.user_id` is the one of the context, whatever it says. A job and an operator have no origin.
    async fn insert(
        &mut self,
        id: AuditLogId,
        entry: &AuditEntry,
        origin: Option<&Origin>,
        now: Timestamp,
    ) -> Result<()>;
}
