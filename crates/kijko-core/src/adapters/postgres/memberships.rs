//! Where somebody belongs.

use async_trait::async_trait;

use super::errors::translate;
use super::tx::PgSystemTx;
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::organizations::{Organization, OrganizationMembership, Role};
use crate::domain::plans::Plan;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ports::memberships::MembershipRepo;

#[async_trait]
impl MembershipRepo for PgSystemTx {
    async fn list(&mut self, user: UserId, current: Option<OrganizationId>) -> Result<Vec<OrganizationMembership>> {
        let rows = sqlx::query!(
            "SELECT o.id, o.name, o.plan, m.role
               FROM organization_members m JOIN organizations o ON o.id = m.organization_id
              WHERE m.user_id = $1 AND m.status = 'active'
              ORDER BY m.joined_at, o.id
              LIMIT 500",
            user.0,
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        let memberships = rows.into_iter().map(|row| {
            let id = row.id.into();
            Ok(OrganizationMembership {
                org_id: id,
                name: row.name,
                role: Role::parse(&row.role).ok_or_else(|| Error::internal("reading a role", row.role))?,
                plan: Plan::parse(&row.plan).ok_or_else(|| Error::internal("reading a plan", row.plan))?,
                is_current: current == Some(id),
            })
        });
        memberships.collect()
    }

    async fn hold(&mut self, user: UserId) -> Result<()> {
        // A lock of our own and not on the row: whoever signs in shares that already, and two could not both have it.
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('organization of:' || $1::text, 0))")
            .bind(user.0)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(())
    }

    async fn found(&mut self, user: UserId, organization: &Organization, now: Timestamp) -> Result<()> {
        self.insert_own_organization(user, organization, now).await
    }

    async fn note_activity(&mut self, user: UserId, organization: OrganizationId, now: Timestamp) -> Result<bool> {
        let done = sqlx::query!(
            "UPDATE organization_members SET last_active_at = $3
              WHERE organization_id = $1 AND user_id = $2 AND status = 'active'",
            organization.0,
            user.0,
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(done.rows_affected() == 1)
    }
}
