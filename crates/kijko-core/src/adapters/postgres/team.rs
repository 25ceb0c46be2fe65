//! The organisation in the context and its members. Colleagues are changed by the functions of the schema `app` alone.

use async_trait::async_trait;
use sqlx::types::Uuid;

use super::errors::translate;
use super::tx::PgTenantTx;
use crate::domain::ids::{MemberId, SessionId, UserId};
use crate::domain::organizations::Role;
use crate::domain::plans::Plan;
use crate::domain::team::{MemberChange, MemberStatus, Team, TeamMember, TeamStats};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ports::team::{MemberRepo, TeamRepo};

pub(super) struct MemberRow {
    pub(super) id: Uuid,
    pub(super) organization_id: Uuid,
    pub(super) user_id: Uuid,
    pub(super) email: String,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) role: String,
    pub(super) status: String,
    pub(super) joined_at: Timestamp,
    pub(super) last_active_at: Option<Timestamp>,
}

impl TryFrom<MemberRow> for TeamMember {
    type Error = Error;

    fn try_from(row: MemberRow) -> Result<Self> {
        let unknown = |what: String| Error::internal("reading a member", what);
        Ok(TeamMember {
            id: row.id.into(),
            team_id: row.organization_id.into(),
            user_id: row.user_id.into(),
            email: row.email,
            name: format!("{} {}", row.first_name, row.last_name),
            role: Role::parse(&row.role).ok_or_else(|| unknown(row.role))?,
            status: MemberStatus::parse(&row.status).ok_or_else(|| unknown(row.status))?,
            joined_at: row.joined_at,
            last_active_at: row.last_active_at,
        })
    }
}

#[async_trait]
impl TeamRepo for PgTenantTx {
    async fn find(&mut self) -> Result<Team> {
        // The one who became the owner first, should several have been made by other means than ours.
        let row = sqlx::query!(
            r#"SELECT o.id, o.name, o.plan, o.created_at, o.updated_at,
                      (SELECT m.user_id FROM organization_members m
                        WHERE m.organization_id = o.id AND m.role = 'owner' AND m.status <> 'removed'
                        ORDER BY m.status <> 'active', m.joined_at, m.user_id LIMIT 1) AS "owner_id!"
                 FROM organizations o"#
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)?;
        let plan = Plan::parse(&row.plan).ok_or_else(|| Error::internal("reading a plan", row.plan))?;
        Ok(Team {
            id: row.id.into(),
            name: row.name,
            owner_id: row.owner_id.into(),
            max_seats: plan.seats(),
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }

    async fn hold(&mut self) -> Result<Team> {
        sqlx::query!("SELECT id FROM organizations FOR NO KEY UPDATE")
            .fetch_one(self.conn())
            .await
            .map_err(translate)?;
        // A statement of its own sees what whoever held it before has committed.
        TeamRepo::find(self).await
    }

    async fn rename(&mut self, name: &str, now: Timestamp) -> Result<()> {
        sqlx::query!("UPDATE organizations SET name = $1, updated_at = $2", name, now)
            .execute(self.conn())
            .await
            .map_err(translate)?;
        Ok(())
    }

    async fn stats(&mut self, max_seats: i64, now: Timestamp) -> Result<TeamStats> {
        let row = sqlx::query!(
            r#"SELECT count(*) AS "total!", count(*) FILTER (WHERE status = 'active') AS "active!",
                      (SELECT count(*) FROM team_invitations WHERE status = 'pending' AND expires_at > $1) AS "pending!"
                 FROM organization_members WHERE status <> 'removed'"#,
            now,
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)?;
        Ok(TeamStats::new(max_seats, row.total, row.active, row.pending))
    }

    async fn count_active_owners(&mut self) -> Result<i64> {
        sqlx::query_scalar!(
            r#"SELECT count(*) AS "owners!" FROM organization_members WHERE role = 'owner' AND status = 'active'"#
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)
    }
}

#[async_trait]
impl MemberRepo for PgTenantTx {
    async fn list(&mut self) -> Result<Vec<TeamMember>> {
        let rows = sqlx::query_as!(
            MemberRow,
            "SELECT id, organization_id, user_id, email, first_name, last_name, role, status, joined_at, last_active_at
               FROM organization_members
              WHERE status <> 'removed'
              ORDER BY array_position(ARRAY['active', 'pending', 'inactive'], status),
                       array_position(ARRAY['owner', 'admin', 'member', 'viewer'], role), id
              LIMIT 500"
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        rows.into_iter().map(TeamMember::try_from).collect()
    }

    async fn find(&mut self, id: MemberId) -> Result<Option<TeamMember>> {
        let row = sqlx::query_as!(
            MemberRow,
            "SELECT id, organization_id, user_id, email, first_name, last_name, role, status, joined_at, last_active_at
               FROM organization_members WHERE id = $1 AND status <> 'removed'",
            id.0,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        row.map(TeamMember::try_from).transpose()
    }

    async fn find_by_user(&mut self, user: UserId) -> Result<Option<TeamMember>> {
        let row = sqlx::query_as!(
            MemberRow,
            "SELECT id, organization_id, user_id, email, first_name, last_name, role, status, joined_at, last_active_at
               FROM organization_members WHERE user_id = $1 AND status <> 'removed'",
            user.0,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        row.map(TeamMember::try_from).transpose()
    }

    async fn change(&mut self, member: &TeamMember, change: MemberChange) -> Result<bool> {
        let (role, status) = match change {
            MemberChange::Role(role) => (role, member.status.as_str()),
            MemberChange::Deactivate => (member.role, MemberStatus::Inactive.as_str()),
            MemberChange::Reactivate => (member.role, MemberStatus::Active.as_str()),
            MemberChange::Remove => (member.role, "removed"),
        };
        let user = member.user_id.0;
        sqlx::query_scalar!(r#"SELECT app.change_member($1, $2, $3) AS "done!""#, user, role.as_str(), status)
            .fetch_one(self.conn())
            .await
            .map_err(translate)
    }

    async fn transfer_ownership(&mut self, to: UserId) -> Result<bool> {
        sqlx::query_scalar!(r#"SELECT app.transfer_ownership($1) AS "done!""#, to.0)
            .fetch_one(self.conn())
            .await
            .map_err(translate)
    }

    async fn end_sessions(&mut self, user: UserId, now: Timestamp) -> Result<Vec<SessionId>> {
        let ids = sqlx::query_scalar!(r#"SELECT app.end_member_sessions($1, $2) AS "id!""#, user.0, now)
            .fetch_all(self.conn())
            .await
            .map_err(translate)?;
        Ok(ids.into_iter().map(Into::into).collect())
    }
}
