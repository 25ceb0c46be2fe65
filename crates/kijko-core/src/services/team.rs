//! Who belongs to an organisation, and with which role.
//!
//! Every change holds the organisation first and then looks again at who is asking, because what was true when they were
//! identified may have ended since. So two changes at once are one after the other, and the second knows of the first.

use serde_json::json;

use crate::app::App;
use crate::context::{Permission, TenantContext};
use crate::domain::audit::AuditEvent;
use crate::domain::events::Event;
use crate::domain::ids::{MemberId, SessionId, UserId};
use crate::domain::organizations::Role;
use crate::domain::team::{
    MemberChange, MemberPatch, MemberStatus, OwnershipTransfer, Team, TeamMember, TeamPatch, TeamStats,
};
use crate::error::{Code, Error, Result};
use crate::ports::TenantTx;
use crate::services::identity::Credential;
use crate::services::sessions::Origin;
use crate::services::{audit, reauthentication};

/// The organisation as a team. None when its plan lets nobody join.
pub async fn get(app: &App, ctx: &TenantContext) -> Result<Option<Team>> {
    ctx.require(Permission::ReadTeam)?;
    let mut tx = app.store.tenant(ctx).await?;
    let team = tx.team().find().await?;
    Ok(team.is_shared().then_some(team))
}

/// Gives the organisation another name, on any plan. Refuses with `VALIDATION_ERROR`.
pub async fn update(app: &App, ctx: &TenantContext, patch: TeamPatch) -> Result<Team> {
    ctx.require(Permission::ManageTeam)?;
    let patch = patch.checked()?;
    let mut tx = app.store.tenant(ctx).await?;
    tx.team().hold().await?;
    acting(&mut *tx, ctx, Permission::ManageTeam).await?;
    tx.team().rename(&patch.name, app.clock.now()).await?;
    let team = tx.team().find().await?;
    tx.commit().await?;
    Ok(team)
}

/// Everybody who belongs to it, at most 500: active, pending, inactive; then from owner to viewer.
pub async fn members(app: &App, ctx: &TenantContext) -> Result<Vec<TeamMember>> {
    ctx.require(Permission::ReadTeam)?;
    let mut tx = app.store.tenant(ctx).await?;
    tx.members().list().await
}

pub async fn stats(app: &App, ctx: &TenantContext) -> Result<TeamStats> {
    ctx.require(Permission::ReadTeam)?;
    let mut tx = app.store.tenant(ctx).await?;
    let team = tx.team().find().await?;
    tx.team().stats(team.max_seats, app.clock.now()).await
}

/// Gives a member another role, which is effective at once.
/// Refuses with `NOT_FOUND`, `FORBIDDEN`, `LAST_OWNER`, `OWNERSHIP_TRANSFER_REQUIRED`.
pub async fn change_role(app: &App, ctx: &TenantContext, id: MemberId, patch: &MemberPatch) -> Result<TeamMember> {
    ctx.require(Permission::ChangeRoles)?;
    let mut tx = app.store.tenant(ctx).await?;
    let before = change(&mut *tx, ctx, Permission::ChangeRoles, id, MemberChange::Role(patch.role)).await?;
    if before.role == patch.role {
        return Ok(before);
    }
    let metadata = json!({ "targetUser": before.user_id, "oldRole": before.role, "newRole": patch.role });
    audit::note(app, &mut *tx, ctx, AuditEvent::TeamRoleChanged, "Changed the role of a member", metadata).await?;
    tx.announce(&Event::UserChanged { user_id: before.user_id }).await?;
    tx.commit().await?;
    app.identities.forget(before.user_id);
    Ok(TeamMember { role: patch.role, ..before })
}

/// Shuts a member out until they are reactivated: their sessions here end at once, their API keys freeze, their seat
/// stays theirs. Refuses with `NOT_FOUND`, `FORBIDDEN`, `LAST_OWNER`.
pub async fn deactivate(app: &App, ctx: &TenantContext, id: MemberId) -> Result<TeamMember> {
    ctx.require(Permission::RemoveMembers)?;
    let mut tx = app.store.tenant(ctx).await?;
    let before = change(&mut *tx, ctx, Permission::RemoveMembers, id, MemberChange::Deactivate).await?;
    let member = TeamMember { status: MemberStatus::Inactive, ..before.clone() };
    if before.status == member.status {
        return Ok(member);
    }
    let metadata = json!({ "targetUser": member.user_id });
    audit::note(app, &mut *tx, ctx, AuditEvent::TeamMemberDeactivated, "Deactivated a member", metadata).await?;
    let ended = end_access(app, &mut *tx, member.user_id).await?;
    tx.commit().await?;
    forget(app, member.user_id, ended);
    Ok(member)
}

/// Lets a member in again who was deactivated. Refuses with `NOT_FOUND`, `FORBIDDEN`.
pub async fn reactivate(app: &App, ctx: &TenantContext, id: MemberId) -> Result<TeamMember> {
    ctx.require(Permission::RemoveMembers)?;
    let mut tx = app.store.tenant(ctx).await?;
    let before = change(&mut *tx, ctx, Permission::RemoveMembers, id, MemberChange::Reactivate).await?;
    let member = TeamMember { status: MemberStatus::Active, ..before.clone() };
    if before.status == member.status {
        return Ok(member);
    }
    let metadata = json!({ "targetUser": member.user_id });
    audit::note(app, &mut *tx, ctx, AuditEvent::TeamMemberReactivated, "Reactivated a member", metadata).await?;
    tx.announce(&Event::UserChanged { user_id: member.user_id }).await?;
    tx.commit().await?;
    app.identities.forget(member.user_id);
    Ok(member)
}

/// Takes somebody out of the organisation: their sessions here end at once and their seat is free. What they made stays
/// with the organisation, and is theirs again should they come back. `reassign_to` is who gets what others must go on
/// with; nothing of that kind exists yet, so it is only checked.
/// Refuses with `NOT_FOUND`, `FORBIDDEN`, `LAST_OWNER`, and `VALIDATION_ERROR` for `reassignTo`.
pub async fn remove(app: &App, ctx: &TenantContext, id: MemberId, reassign_to: Option<MemberId>) -> Result<()> {
    ctx.require(Permission::RemoveMembers)?;
    let mut tx = app.store.tenant(ctx).await?;
    let member = change(&mut *tx, ctx, Permission::RemoveMembers, id, MemberChange::Remove).await?;
    if let Some(heir) = reassign_to {
        let heir = tx.members().find(heir).await?;
        if heir.is_none_or(|heir| heir.status != MemberStatus::Active) {
            let message = "reassignTo must be another active member of the organisation";
            return Err(Error::invalid("reassignTo", "unknown", message));
        }
    }
    let metadata = json!({ "targetUser": member.user_id, "role": member.role });
    audit::note(app, &mut *tx, ctx, AuditEvent::TeamMemberRemoved, "Removed a member", metadata).await?;
    let ended = end_access(app, &mut *tx, member.user_id).await?;
    tx.commit().await?;
    forget(app, member.user_id, ended);
    Ok(())
}

/// Makes another active member the owner, and the caller, who proves once more who they are, an admin.
/// Refuses with `REAUTHENTICATION_FAILED`, `ACCOUNT_LOCKED`, `NOT_FOUND`, `FORBIDDEN`, and `CONFLICT` for who is not active.
pub async fn transfer_ownership(
    app: &App,
    ctx: &TenantContext,
    session: Option<SessionId>,
    transfer: OwnershipTransfer,
    origin: &Origin,
) -> Result<Team> {
    ctx.require(Permission::TransferOwnership)?;
    let transfer = transfer.checked()?;
    reauthentication::demand(app, ctx, session, transfer.password, origin).await?;
    let mut tx = app.store.tenant(ctx).await?;
    tx.team().hold().await?;
    let owner = acting(&mut *tx, ctx, Permission::TransferOwnership).await?;
    let heir = tx.members().find(transfer.member_id).await?.ok_or(Error::not_found(Code::NotFound))?;
    if heir.user_id == owner.user_id {
        return Err(Error::Forbidden { code: Code::Forbidden });
    }
    if heir.status != MemberStatus::Active {
        return Err(Error::conflict(Code::Conflict));
    }
    if !tx.members().transfer_ownership(heir.user_id).await? {
        return Err(Error::Forbidden { code: Code::Forbidden });
    }
    let team = tx.team().find().await?;
    let metadata = json!({ "targetUser": heir.user_id, "oldRole": heir.role, "newRole": Role::Owner });
    let event = AuditEvent::TeamOwnershipTransferred;
    audit::note(app, &mut *tx, ctx, event, "Handed the organisation over to another owner", metadata).await?;
    for user_id in [owner.user_id, heir.user_id] {
        tx.announce(&Event::UserChanged { user_id }).await?;
    }
    tx.commit().await?;
    app.identities.forget(owner.user_id);
    app.identities.forget(heir.user_id);
    Ok(team)
}

/// The caller's place as it is now, while the organisation is held.
pub(crate) async fn acting(tx: &mut dyn TenantTx, ctx: &TenantContext, permission: Permission) -> Result<TeamMember> {
    let actor = tx.members().find_by_user(ctx.user_id()).await?;
    let actor = actor.filter(|actor| actor.status == MemberStatus::Active && permission.is_given_to(actor.role));
    actor.ok_or(Error::Forbidden { code: Code::Forbidden })
}

/// Changes a member if the caller may; gives them as they were.
async fn change(
    tx: &mut dyn TenantTx,
    ctx: &TenantContext,
    permission: Permission,
    id: MemberId,
    change: MemberChange,
) -> Result<TeamMember> {
    tx.team().hold().await?;
    let actor = acting(tx, ctx, permission).await?;
    let target = tx.members().find(id).await?.ok_or(Error::not_found(Code::NotFound))?;
    change.require(&actor, &target, tx.team().count_active_owners().await?)?;
    if !tx.members().change(&target, change).await? {
        return Err(Error::Forbidden { code: Code::Forbidden });
    }
    Ok(target)
}

/// Ends the sessions of somebody who may not enter any more, and tells every process.
async fn end_access(app: &App, tx: &mut dyn TenantTx, user_id: UserId) -> Result<Vec<SessionId>> {
    let ended = tx.members().end_sessions(user_id, app.clock.now()).await?;
    for session_id in &ended {
        tx.announce(&Event::SessionRevoked { session_id: *session_id }).await?;
    }
    tx.announce(&Event::UserChanged { user_id }).await?;
    Ok(ended)
}

/// The announcements reach this process too, but only in a moment.
fn forget(app: &App, user: UserId, ended: Vec<SessionId>) {
    for session in ended {
        app.identities.end(Credential::Session(session));
    }
    app.identities.forget(user);
}
