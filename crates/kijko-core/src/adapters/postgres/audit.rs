//! Entries of the audit log.

use async_trait::async_trait;

use super::errors::translate;
use super::tx::{PgSystemTx, PgTenantTx};
use crate::domain::audit::AuditEntry;
use crate::domain::ids::{AuditLogId, OrganizationId};
use crate::domain::sessions::Origin;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ports::audit::{AuditRepo, OwnAuditRepo};

#[async_trait]
impl AuditRepo for PgSystemTx {
    async fn insert(
        &mut self,
        organization: OrganizationId,
        id: AuditLogId,
        entry: &AuditEntry,
        origin: Option<&Origin>,
        now: Timestamp,
    ) -> Result<()> {
        sqlx::query!(
            "INSERT INTO audit_logs
                 (organization_id, id, user_id, event_type, description, metadata, request_id, ip_address, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::inet, $9)",
            organization.0,
            id.0,
            entry.user_id.map(|id| id.0),
            entry.event.as_str(),
            entry.description,
            entry.metadata,
            origin.map(|origin| &*origin.request_id),
            origin.map(|origin| origin.address.to_string()),
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }
}

#[async_trait]
impl OwnAuditRepo for PgTenantTx {
    async fn insert(
        &mut self,
        id: AuditLogId,
        entry: &AuditEntry,
        origin: Option<&Origin>,
        now: Timestamp,
    ) -> Result<()> {
        sqlx::query!(
            "INSERT INTO audit_logs (id, event_type, description, metadata, request_id, ip_address, created_at)
             VALUES ($1, $2, $3, $4, $5, $6::text::inet, $7)",
            id.0,
            entry.event.as_str(),
            entry.description,
            entry.metadata,
            origin.map(|origin| &*origin.request_id),
            origin.map(|origin| origin.address.to_string()),
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }
}
