//! Users, their organisations and memberships.

use async_trait::async_trait;
use sqlx::types::Uuid;

use super::errors::translate;
use super::tx::PgSystemTx;
use crate::domain::accounts::{Account, Membership, User};
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::organizations::{Organization, Role};
use crate::domain::plans::Plan;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ports::accounts::AccountRepo;

pub(super) struct AccountRow {
    pub(super) id: Uuid,
    pub(super) email: String,
    pub(super) email_verified_at: Option<Timestamp>,
    pub(super) password_hash: Option<String>,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) is_platform_admin: bool,
    pub(super) disabled_at: Option<Timestamp>,
    pub(super) organization_id: Option<Uuid>,
    pub(super) organization_name: Option<String>,
    pub(super) plan: Option<String>,
    pub(super) role: Option<String>,
}

impl AccountRow {
    pub(super) fn into_account(self) -> Result<(Account, Option<String>)> {
        let membership = match (self.organization_id, self.organization_name, self.plan, self.role) {
            (Some(id), Some(name), Some(plan), Some(role)) => Some(Membership {
                organization: Organization {
                    id: id.into(),
                    name,
                    plan: Plan::parse(&plan).ok_or_else(|| Error::internal("reading a plan", plan))?,
                },
                role: Role::parse(&role).ok_or_else(|| Error::internal("reading a role", role))?,
            }),
            _ => None,
        };
        let user = User {
            id: self.id.into(),
            email: self.email,
            email_verified: self.email_verified_at.is_some(),
            first_name: self.first_name,
            last_name: self.last_name,
            is_platform_admin: self.is_platform_admin,
        };
        Ok((Account { user, disabled: self.disabled_at.is_some(), membership }, self.password_hash))
    }
}

#[async_trait]
impl AccountRepo for PgSystemTx {
    async fn find_by_email(&mut self, email: &str) -> Result<Option<(Account, Option<String>)>> {
        // Who belongs to several organisations enters the one they joined first.
        let row = sqlx::query_as!(
            AccountRow,
            r#"SELECT u.id, u.email, u.email_verified_at, u.password_hash, u.first_name, u.last_name,
                      u.is_platform_admin, u.disabled_at, m.organization_id AS "organization_id?",
                      o.name AS "organization_name?", o.plan AS "plan?", m.role AS "role?"
                 FROM users u
                 LEFT JOIN organization_members m ON m.user_id = u.id AND m.status = 'active'
                 LEFT JOIN organizations o ON o.id = m.organization_id
                WHERE u.email = $1
                ORDER BY m.joined_at, m.organization_id
                LIMIT 1"#,
            email,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        row.map(AccountRow::into_account).transpose()
    }

    async fn find(&mut self, user: UserId, organization: OrganizationId) -> Result<Option<Account>> {
        let row = sqlx::query_as!(
            AccountRow,
            r#"SELECT u.id, u.email, u.email_verified_at, NULL::text AS password_hash, u.first_name, u.last_name,
                      u.is_platform_admin, u.disabled_at, m.organization_id AS "organization_id?",
                      o.name AS "organization_name?", o.plan AS "plan?", m.role AS "role?"
                 FROM users u
                 LEFT JOIN organization_members m
                        ON m.user_id = u.id AND m.organization_id = $2 AND m.status = 'active'
                 LEFT JOIN organizations o ON o.id = m.organization_id
                WHERE u.id = $1"#,
            user.0,
            organization.0,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        Ok(row.map(AccountRow::into_account).transpose()?.map(|(account, _)| account))
    }

    async fn insert(
        &mut self,
        user: &User,
        hash: Option<&str>,
        organization: &Organization,
        now: Timestamp,
    ) -> Result<()> {
        self.insert_person(user, hash, now).await?;
        self.insert_own_organization(user.id, organization, now).await
    }

    async fn confirm_email(&mut self, user: UserId, now: Timestamp) -> Result<()> {
        sqlx::query!(
            "UPDATE users SET email_verified_at = $2, updated_at = $2 WHERE id = $1 AND email_verified_at IS NULL",
            user.0,
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }

    async fn insert_person(&mut self, user: &User, hash: Option<&str>, now: Timestamp) -> Result<()> {
        sqlx::query!(
            "INSERT INTO users (id, email, email_verified_at, password_hash, first_name, last_name, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
            user.id.0,
            user.email,
            user.email_verified.then_some(now),
            hash,
            user.first_name,
            user.last_name,
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }

    async fn password_hash(&mut self, user: UserId) -> Result<Option<String>> {
        let hash = sqlx::query_scalar!("SELECT password_hash FROM users WHERE id = $1", user.0)
            .fetch_optional(self.conn())
            .await
            .map_err(translate)?;
        Ok(hash.flatten())
    }

    async fn password_hash_by_email(&mut self, email: &str) -> Result<Option<String>> {
        let hash = sqlx::query_scalar!("SELECT password_hash FROM users WHERE email = $1", email)
            .fetch_optional(self.conn())
            .await
            .map_err(translate)?;
        Ok(hash.flatten())
    }

    async fn has_password_hash(&mut self, user: UserId, hash: &str) -> Result<bool> {
        let row = sqlx::query!("SELECT id FROM users WHERE id = $1 AND password_hash = $2 FOR SHARE", user.0, hash)
            .fetch_optional(self.conn())
            .await
            .map_err(translate)?;
        Ok(row.is_some())
    }

    async fn forget_password(&mut self, user: UserId, now: Timestamp) -> Result<()> {
        sqlx::query!("UPDATE users SET password_hash = NULL, updated_at = $2 WHERE id = $1", user.0, now)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(())
    }

    async fn set_password_hash(&mut self, user: UserId, hash: &str, now: Timestamp) -> Result<()> {
        sqlx::query!("UPDATE users SET password_hash = $2, updated_at = $3 WHERE id = $1", user.0, hash, now)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(())
    }
}

impl PgSystemTx {
    /// With this user as its owner.
    pub(super) async fn insert_own_organization(
        &mut self,
        user: UserId,
        organization: &Organization,
        now: Timestamp,
    ) -> Result<()> {
        sqlx::query!(
            "INSERT INTO organizations (id, name, plan, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)",
            organization.id.0,
            organization.name,
            organization.plan.as_str(),
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        sqlx::query!(
            "INSERT INTO organization_members (organization_id, user_id, role, joined_at) VALUES ($1, $2, 'owner', $3)",
            organization.id.0,
            user.0,
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }
}
