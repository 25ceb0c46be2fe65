//! Invitations, of the organisation in the context and as their secrets find them.

use async_trait::async_trait;
use sqlx::types::Uuid;

use super::errors::translate;
use super::team::MemberRow;
use super::tx::{PgSystemTx, PgTenantTx};
use crate::domain::ids::{InvitationId, OrganizationId, UserId};
use crate::domain::invitations::{InvitationStatus, Invited, Inviter, TeamInvitation};
use crate::domain::organizations::Role;
use crate::domain::plans::Plan;
use crate::domain::team::TeamMember;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ports::invitations::{InvitationRepo, JoinRepo, Taken};

struct InvitationRow {
    id: Uuid,
    organization_id: Uuid,
    email: String,
    role: String,
    invited_by: Uuid,
    first_name: String,
    last_name: String,
    message: Option<String>,
    status: String,
    expires_at: Timestamp,
    created_at: Timestamp,
}

fn unknown(what: String) -> Error {
    Error::internal("reading an invitation", what)
}

fn role(text: String) -> Result<Role> {
    Role::parse(&text).ok_or_else(|| unknown(text))
}

fn status(text: String) -> Result<InvitationStatus> {
    InvitationStatus::parse(&text).ok_or_else(|| unknown(text))
}

impl InvitationRow {
    fn into_invitation(self, now: Timestamp) -> Result<TeamInvitation> {
        Ok(TeamInvitation {
            id: self.id.into(),
            team_id: self.organization_id.into(),
            email: self.email,
            role: role(self.role)?,
            invited_by: Inviter { id: self.invited_by.into(), name: format!("{} {}", self.first_name, self.last_name) },
            message: self.message,
            token: self.id.into(),
            status: status(self.status)?.at(now, self.expires_at),
            expires_at: self.expires_at,
            created_at: self.created_at,
        })
    }
}

#[async_trait]
impl InvitationRepo for PgTenantTx {
    async fn list(&mut self, now: Timestamp) -> Result<Vec<TeamInvitation>> {
        let rows = sqlx::query_as!(
            InvitationRow,
            "SELECT i.id, i.organization_id, i.email, i.role, i.invited_by, m.first_name, m.last_name, i.message,
                    i.status, i.expires_at, i.created_at
               FROM team_invitations i
               JOIN organization_members m ON m.organization_id = i.organization_id AND m.user_id = i.invited_by
              ORDER BY i.status = 'pending' AND i.expires_at > $1 DESC, i.created_at DESC, i.id
              LIMIT 500",
            now,
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        rows.into_iter().map(|row| row.into_invitation(now)).collect()
    }

    async fn find(&mut self, id: InvitationId, now: Timestamp) -> Result<Option<TeamInvitation>> {
        let row = sqlx::query_as!(
            InvitationRow,
            "SELECT i.id, i.organization_id, i.email, i.role, i.invited_by, m.first_name, m.last_name, i.message,
                    i.status, i.expires_at, i.created_at
               FROM team_invitations i
               JOIN organization_members m ON m.organization_id = i.organization_id AND m.user_id = i.invited_by
              WHERE i.id = $1",
            id.0,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        row.map(|row| row.into_invitation(now)).transpose()
    }

    async fn taken(&mut self, emails: &[String], now: Timestamp) -> Result<Taken> {
        let members = sqlx::query_scalar!(
            "SELECT email FROM organization_members WHERE email = ANY ($1) AND status <> 'removed' ORDER BY email",
            emails,
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        let invited = sqlx::query_scalar!(
            "SELECT email FROM team_invitations WHERE email = ANY ($1) AND status = 'pending' AND expires_at > $2
              ORDER BY email",
            emails,
            now,
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        Ok(Taken { members, invited })
    }

    async fn insert(&mut self, invitation: &TeamInvitation, token_hash: &[u8; 32]) -> Result<()> {
        sqlx::query!(
            "INSERT INTO team_invitations (id, email, role, message, token_hash, expires_at, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            invitation.id.0,
            invitation.email,
            invitation.role.as_str(),
            invitation.message,
            token_hash.as_slice(),
            invitation.expires_at,
            invitation.created_at,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }

    async fn renew(&mut self, id: InvitationId, token_hash: &[u8; 32], expires_at: Timestamp) -> Result<()> {
        sqlx::query!(
            "UPDATE team_invitations SET token_hash = $2, expires_at = $3 WHERE id = $1",
            id.0,
            token_hash.as_slice(),
            expires_at,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }

    async fn cancel(&mut self, id: InvitationId) -> Result<()> {
        sqlx::query!("UPDATE team_invitations SET status = 'cancelled' WHERE id = $1", id.0)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(())
    }

    async fn expire(&mut self, now: Timestamp) -> Result<()> {
        sqlx::query!(
            "UPDATE team_invitations SET status = 'expired' WHERE status = 'pending' AND expires_at <= $1",
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }
}

#[async_trait]
impl JoinRepo for PgSystemTx {
    async fn find(&mut self, token_hash: &[u8; 32]) -> Result<Option<Invited>> {
        let row = sqlx::query!(
            "SELECT i.id, i.organization_id, o.name, i.email, i.role, m.first_name, m.last_name, i.status, i.expires_at
               FROM team_invitations i
               JOIN organizations o ON o.id = i.organization_id
               JOIN organization_members m ON m.organization_id = i.organization_id AND m.user_id = i.invited_by
              WHERE i.token_hash = $1",
            token_hash.as_slice(),
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        row.map(|row| {
            Ok(Invited {
                id: row.id.into(),
                organization_id: row.organization_id.into(),
                organization_name: row.name,
                email: row.email,
                role: role(row.role)?,
                invited_by_name: format!("{} {}", row.first_name, row.last_name),
                status: status(row.status)?,
                expires_at: row.expires_at,
            })
        })
        .transpose()
    }

    async fn hold(&mut self, organization: OrganizationId) -> Result<()> {
        sqlx::query!("SELECT id FROM organizations WHERE id = $1 FOR NO KEY UPDATE", organization.0)
            .fetch_one(self.conn())
            .await
            .map_err(translate)?;
        Ok(())
    }

    async fn seats(&mut self, organization: OrganizationId) -> Result<(Plan, i64)> {
        let row = sqlx::query!(
            r#"SELECT o.plan, (SELECT count(*) FROM organization_members m
                                WHERE m.organization_id = o.id AND m.status <> 'removed') AS "members!"
                 FROM organizations o WHERE o.id = $1"#,
            organization.0,
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)?;
        let plan = Plan::parse(&row.plan).ok_or_else(|| Error::internal("reading a plan", row.plan))?;
        Ok((plan, row.members))
    }

    async fn join(&mut self, invited: &Invited, user: UserId, now: Timestamp) -> Result<Option<TeamMember>> {
        let row = sqlx::query_as!(
            MemberRow,
            "INSERT INTO organization_members AS m (organization_id, user_id, role, joined_at, last_active_at)
             VALUES ($1, $2, $3, $4, $4)
             ON CONFLICT (organization_id, user_id) DO UPDATE
                SET role = $3, status = 'active', joined_at = $4, last_active_at = $4 WHERE m.status = 'removed'
             RETURNING id, organization_id, user_id, email, first_name, last_name, role, status, joined_at,
                       last_active_at",
            invited.organization_id.0,
            user.0,
            invited.role.as_str(),
            now,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        sqlx::query!(
            "UPDATE team_invitations SET status = 'accepted' WHERE organization_id = $1 AND id = $2",
            invited.organization_id.0,
            invited.id.0,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        row.map(TeamMember::try_from).transpose()
    }
}
