//! People and organisations across all tenants.

use async_trait::async_trait;
use sqlx::types::Uuid;

use super::errors::translate;
use super::tx::PgSystemTx;
use crate::domain::administration::{MembershipRecord, OrganizationRecord, UserRecord, UserRef};
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::organizations::Role;
use crate::domain::page::{Listed, Page};
use crate::domain::plans::Plan;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ports::administration::{AllOrganizationsRepo, AllUsersRepo};

/// Every list is bounded, also those that are no pages.
const MOST: i64 = 500;

struct UserRow {
    id: Uuid,
    email: String,
    email_verified: bool,
    first_name: String,
    last_name: String,
    is_platform_admin: bool,
    disabled_at: Option<Timestamp>,
    created_at: Timestamp,
}

impl From<UserRow> for UserRecord {
    fn from(row: UserRow) -> Self {
        Self {
            id: row.id.into(),
            email: row.email,
            email_verified: row.email_verified,
            first_name: row.first_name,
            last_name: row.last_name,
            is_platform_admin: row.is_platform_admin,
            disabled_at: row.disabled_at,
            created_at: row.created_at,
        }
    }
}

struct MembershipRow {
    organization_id: Uuid,
    organization_name: String,
    user_id: Uuid,
    email: String,
    role: String,
    status: String,
    joined_at: Timestamp,
}

impl TryFrom<MembershipRow> for MembershipRecord {
    type Error = Error;

    fn try_from(row: MembershipRow) -> Result<Self> {
        Ok(Self {
            organization_id: row.organization_id.into(),
            organization_name: row.organization_name,
            user_id: row.user_id.into(),
            email: row.email,
            role: Role::parse(&row.role).ok_or_else(|| Error::internal("reading a role", row.role))?,
            status: row.status,
            joined_at: row.joined_at,
        })
    }
}

struct OrganizationRow {
    id: Uuid,
    name: String,
    plan: String,
    owner_email: Option<String>,
    members: i64,
    created_at: Timestamp,
}

impl TryFrom<OrganizationRow> for OrganizationRecord {
    type Error = Error;

    fn try_from(row: OrganizationRow) -> Result<Self> {
        Ok(Self {
            id: row.id.into(),
            name: row.name,
            plan: Plan::parse(&row.plan).ok_or_else(|| Error::internal("reading a plan", row.plan))?,
            owner_email: row.owner_email,
            members: row.members,
            created_at: row.created_at,
        })
    }
}

fn offset(page: Page) -> i64 {
    i64::try_from(page.offset()).unwrap_or(i64::MAX)
}

#[async_trait]
impl AllUsersRepo for PgSystemTx {
    async fn find(&mut self, who: &UserRef) -> Result<Option<UserRecord>> {
        let (id, email) = match who {
            UserRef::Id(id) => (Some(id.0), None),
            UserRef::Email(email) => (None, Some(email.as_str())),
        };
        let row = sqlx::query_as!(
            UserRow,
            r#"SELECT id, email, email_verified_at IS NOT NULL AS "email_verified!", first_name, last_name,
                      is_platform_admin, disabled_at, created_at
                 FROM users WHERE id = $1 OR email = $2"#,
            id,
            email,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        Ok(row.map(UserRecord::from))
    }

    async fn list(&mut self, search: &str, page: Page) -> Result<Listed<UserRecord>> {
        let total = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM users
                WHERE strpos(email || ' ' || lower(first_name || ' ' || last_name), lower($1)) > 0"#,
            search,
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)?;
        let rows = sqlx::query_as!(
            UserRow,
            r#"SELECT id, email, email_verified_at IS NOT NULL AS "email_verified!", first_name, last_name,
                      is_platform_admin, disabled_at, created_at
                 FROM users WHERE strpos(email || ' ' || lower(first_name || ' ' || last_name), lower($1)) > 0
                ORDER BY created_at DESC, id LIMIT $2 OFFSET $3"#,
            search,
            i64::from(page.limit()),
            offset(page),
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        Ok(Listed { rows: rows.into_iter().map(UserRecord::from).collect(), total: total.unsigned_abs() })
    }

    async fn memberships(&mut self, user: UserId) -> Result<Vec<MembershipRecord>> {
        let rows = sqlx::query_as!(
            MembershipRow,
            "SELECT m.organization_id, o.name AS organization_name, m.user_id, u.email, m.role, m.status, m.joined_at
               FROM organization_members m JOIN organizations o ON o.id = m.organization_id
               JOIN users u ON u.id = m.user_id
              WHERE m.user_id = $1 ORDER BY m.joined_at, m.organization_id LIMIT $2",
            user.0,
            MOST,
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        rows.into_iter().map(MembershipRecord::try_from).collect()
    }

    async fn set_disabled(&mut self, user: UserId, disabled_at: Option<Timestamp>, now: Timestamp) -> Result<()> {
        sqlx::query!("UPDATE users SET disabled_at = $2, updated_at = $3 WHERE id = $1", user.0, disabled_at, now)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(())
    }

    async fn set_platform_admin(&mut self, user: UserId, is_platform_admin: bool, now: Timestamp) -> Result<()> {
        sqlx::query!(
            "UPDATE users SET is_platform_admin = $2, updated_at = $3 WHERE id = $1",
            user.0,
            is_platform_admin,
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }

    async fn end_sessions(&mut self, user: UserId, now: Timestamp) -> Result<u64> {
        let done = sqlx::query!(
            "UPDATE user_sessions SET revoked_at = $2, revoke_reason = 'operator'
              WHERE organization_id IN (SELECT organization_id FROM organization_members WHERE user_id = $1)
                AND user_id = $1 AND revoked_at IS NULL",
            user.0,
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(done.rows_affected())
    }
}

#[async_trait]
impl AllOrganizationsRepo for PgSystemTx {
    async fn find(&mut self, id: OrganizationId) -> Result<Option<OrganizationRecord>> {
        let row = sqlx::query_as!(
            OrganizationRow,
            r#"SELECT o.id, o.name, o.plan, o.created_at,
                      (SELECT u.email FROM organization_members m JOIN users u ON u.id = m.user_id
                        WHERE m.organization_id = o.id AND m.role = 'owner' AND m.status = 'active'
                        ORDER BY m.joined_at, m.user_id LIMIT 1) AS owner_email,
                      (SELECT count(*) FROM organization_members m
                        WHERE m.organization_id = o.id AND m.status = 'active') AS "members!"
                 FROM organizations o WHERE o.id = $1"#,
            id.0,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        row.map(OrganizationRecord::try_from).transpose()
    }

    async fn list(&mut self, search: &str, page: Page) -> Result<Listed<OrganizationRecord>> {
        let total = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM organizations WHERE strpos(lower(name), lower($1)) > 0"#,
            search,
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)?;
        let rows = sqlx::query_as!(
            OrganizationRow,
            r#"SELECT o.id, o.name, o.plan, o.created_at,
                      (SELECT u.email FROM organization_members m JOIN users u ON u.id = m.user_id
                        WHERE m.organization_id = o.id AND m.role = 'owner' AND m.status = 'active'
                        ORDER BY m.joined_at, m.user_id LIMIT 1) AS owner_email,
                      (SELECT count(*) FROM organization_members m
                        WHERE m.organization_id = o.id AND m.status = 'active') AS "members!"
                 FROM organizations o WHERE strpos(lower(o.name), lower($1)) > 0
                ORDER BY o.created_at DESC, o.id LIMIT $2 OFFSET $3"#,
            search,
            i64::from(page.limit()),
            offset(page),
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        let rows = rows.into_iter().map(OrganizationRecord::try_from).collect::<Result<_>>()?;
        Ok(Listed { rows, total: total.unsigned_abs() })
    }

    async fn members(&mut self, id: OrganizationId) -> Result<Vec<MembershipRecord>> {
        let rows = sqlx::query_as!(
            MembershipRow,
            "SELECT m.organization_id, o.name AS organization_name, m.user_id, u.email, m.role, m.status, m.joined_at
               FROM organization_members m JOIN organizations o ON o.id = m.organization_id
               JOIN users u ON u.id = m.user_id
              WHERE m.organization_id = $1 ORDER BY m.joined_at, m.user_id LIMIT $2",
            id.0,
            MOST,
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        rows.into_iter().map(MembershipRecord::try_from).collect()
    }

    async fn set_plan(&mut self, id: OrganizationId, plan: Plan, now: Timestamp) -> Result<()> {
        sqlx::query!("UPDATE organizations SET plan = $2, updated_at = $3 WHERE id = $1", id.0, plan.as_str(), now)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(())
    }
}
