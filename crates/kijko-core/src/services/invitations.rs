//! Inviting people into an organisation, and joining one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::app::App;
use crate::context::{Permission, TenantContext};
use crate::domain::accounts::User;
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::events::Event;
use crate::domain::ids::{AuditLogId, InvitationId};
use crate::domain::invitations::{
    InvitationPreview, InvitationStatus, InvitationToken, InviteMemberData, Invited, Inviter, LIFE, TeamInvitation,
};
use crate::domain::mails::Mail;
use crate::domain::team::{Team, TeamMember};
use crate::domain::time::Timestamp;
use crate::error::{Code, Error, Result};
use crate::ports::{SystemTask, SystemTx, TenantTx};
use crate::services::identity::Identity;
use crate::services::sessions::Origin;
use crate::services::{audit, mails, team};

/// Invitations of every status, pending ones first, then the newest; at most 500.
pub async fn list(app: &App, ctx: &TenantContext) -> Result<Vec<TeamInvitation>> {
    ctx.require(Permission::InviteMembers)?;
    let mut tx = app.store.tenant(ctx).await?;
    tx.invitations().list(app.clock.now()).await
}

/// Invites every address, or none. Each invitation holds a seat for as long as it can be accepted.
/// Refuses with `VALIDATION_ERROR`, `PLAN_REQUIRED`, `FORBIDDEN` for a role above the caller's own, `ALREADY_MEMBER` and
/// `INVITATION_EXISTS` with the addresses, `NO_AVAILABLE_SEATS`.
pub async fn invite(app: &App, ctx: &TenantContext, invite: InviteMemberData) -> Result<Vec<TeamInvitation>> {
    ctx.require(Permission::InviteMembers)?;
    let invite = invite.checked()?;
    let now = app.clock.now();
    let mut tx = app.store.tenant(ctx).await?;
    let team = tx.team().hold().await?;
    let actor = team::acting(&mut *tx, ctx, Permission::InviteMembers).await?;
    if !actor.role.grants(invite.role) {
        return Err(Error::Forbidden { code: Code::Forbidden });
    }
    require_room(&mut *tx, &team, &invite.emails, now).await?;
    tx.invitations().expire(now).await?;
    let mut invitations = Vec::with_capacity(invite.emails.len());
    for email in invite.emails {
        let id = InvitationId(app.random.uuid());
        let invitation = TeamInvitation {
            id,
            team_id: team.id,
            email,
            role: invite.role,
            invited_by: Inviter { id: actor.user_id, name: actor.name.clone() },
            message: invite.message.clone(),
            token: id,
            status: InvitationStatus::Pending,
            expires_at: now + LIFE,
            created_at: now,
        };
        let secret = new_secret(app);
        tx.invitations().insert(&invitation, &hash_of(app, &secret)).await?;
        send(app, &mut *tx, &team, &invitation, &secret).await?;
        let metadata = json!({ "invitedEmail": invitation.email, "role": invitation.role });
        audit::note(app, &mut *tx, ctx, AuditEvent::TeamMemberInvited, "Invited somebody", metadata).await?;
        invitations.push(invitation);
    }
    tx.commit().await?;
    Ok(invitations)
}

/// Sends the mail again with a new secret, and begins the seven days anew; the link before is worth nothing any more.
/// Refuses with `NOT_FOUND`, and `CONFLICT` when it is no longer pending.
pub async fn resend(app: &App, ctx: &TenantContext, id: InvitationId) -> Result<TeamInvitation> {
    ctx.require(Permission::InviteMembers)?;
    let now = app.clock.now();
    let mut tx = app.store.tenant(ctx).await?;
    let team = tx.team().hold().await?;
    team::acting(&mut *tx, ctx, Permission::InviteMembers).await?;
    let invitation = tx.invitations().find(id, now).await?.ok_or(Error::not_found(Code::NotFound))?;
    if invitation.status != InvitationStatus::Pending {
        return Err(Error::conflict(Code::Conflict));
    }
    let secret = new_secret(app);
    let invitation = TeamInvitation { expires_at: now + LIFE, ..invitation };
    tx.invitations().renew(id, &hash_of(app, &secret), invitation.expires_at).await?;
    send(app, &mut *tx, &team, &invitation, &secret).await?;
    tx.commit().await?;
    Ok(invitation)
}

/// Withdraws an invitation; its link is worth nothing any more, and its seat is free. Doing it again is harmless.
/// Refuses with `NOT_FOUND`, and `CONFLICT` when it was accepted.
pub async fn cancel(app: &App, ctx: &TenantContext, id: InvitationId) -> Result<()> {
    ctx.require(Permission::InviteMembers)?;
    let mut tx = app.store.tenant(ctx).await?;
    tx.team().hold().await?;
    team::acting(&mut *tx, ctx, Permission::InviteMembers).await?;
    let invitation = tx.invitations().find(id, app.clock.now()).await?.ok_or(Error::not_found(Code::NotFound))?;
    if invitation.status == InvitationStatus::Accepted {
        return Err(Error::conflict(Code::Conflict));
    }
    tx.invitations().cancel(id).await?;
    tx.commit().await
}

/// What an invitation says, to anybody who holds its secret. Refuses with `NOT_FOUND`, `INVITATION_EXPIRED`.
pub async fn look_up(app: &App, request: &InvitationToken) -> Result<InvitationPreview> {
    let mut tx = app.store.system(SystemTask::JoinOrganization).await?;
    let invited =
        tx.invitations().find(&hash_of(app, &request.token)).await?.ok_or(Error::not_found(Code::NotFound))?;
    invited.require_open(app.clock.now())?;
    Ok(invited.preview())
}

/// Makes the caller a member of the organisation that they were invited to, beside those they belong to.
/// Refuses with `NOT_FOUND`, `INVITATION_EXPIRED`, `FORBIDDEN` when another address was invited, `ALREADY_MEMBER`,
/// `NO_AVAILABLE_SEATS`.
pub async fn accept(app: &App, identity: &Identity, request: &InvitationToken, origin: &Origin) -> Result<TeamMember> {
    let now = app.clock.now();
    let mut tx = app.store.system(SystemTask::JoinOrganization).await?;
    let member = join(app, &mut *tx, &identity.account.user, &request.token, origin, now).await?;
    tx.commit().await?;
    app.identities.forget(member.user_id);
    Ok(member)
}

/// The same in the transaction of a sign-up.
pub(crate) async fn join(
    app: &App,
    tx: &mut dyn SystemTx,
    user: &User,
    secret: &SecretString,
    origin: &Origin,
    now: Timestamp,
) -> Result<TeamMember> {
    let invited = held(app, tx, secret).await?;
    invited.require_acceptable(&user.email, now)?;
    let organization = invited.organization_id;
    // The secret came to that address, so the address is theirs. Before joining, which only shares the person.
    tx.accounts().confirm_email(user.id, now).await?;
    let member = tx.invitations().join(&invited, user.id, now).await?;
    let member = member.ok_or_else(|| Error::conflict(Code::AlreadyMember))?;
    // The plan may have become smaller since the invitation was sent.
    let (plan, members) = tx.invitations().seats(organization).await?;
    if members > plan.seats() {
        return Err(Error::Forbidden { code: Code::NoAvailableSeats });
    }
    let entry = AuditEntry {
        event: AuditEvent::TeamMemberJoined,
        user_id: Some(user.id),
        description: "Joined by invitation".into(),
        metadata: json!({ "invitationId": invited.id, "role": member.role }),
    };
    let id = AuditLogId(app.random.uuid());
    tx.audit().insert(organization, id, &entry, Some(origin), now).await?;
    tx.announce(&Event::UserChanged { user_id: user.id }).await?;
    Ok(member)
}

/// The invitation, with the organisation held: nobody accepts, withdraws or renews it now.
async fn held(app: &App, tx: &mut dyn SystemTx, secret: &SecretString) -> Result<Invited> {
    let hash = hash_of(app, secret);
    let not_found = || Error::not_found(Code::NotFound);
    let found = tx.invitations().find(&hash).await?.ok_or_else(not_found)?;
    tx.invitations().hold(found.organization_id).await?;
    tx.invitations().find(&hash).await?.ok_or_else(not_found)
}

/// Whether all of them are new, and the plan has seats for all of them.
async fn require_room(tx: &mut dyn TenantTx, team: &Team, emails: &[String], now: Timestamp) -> Result<()> {
    if !team.is_shared() {
        return Err(Error::Forbidden { code: Code::PlanRequired });
    }
    let taken = tx.invitations().taken(emails, now).await?;
    for (code, emails) in [(Code::AlreadyMember, taken.members), (Code::InvitationExists, taken.invited)] {
        if !emails.is_empty() {
            let details = Some(json!({ "emails": emails }));
            return Err(Error::Conflict { code, field: Some("emails"), details });
        }
    }
    let stats = tx.team().stats(team.max_seats, now).await?;
    let wanted = i64::try_from(emails.len()).unwrap_or(i64::MAX);
    if wanted > stats.available_seats {
        return Err(Error::Forbidden { code: Code::NoAvailableSeats });
    }
    Ok(())
}

/// The one place where the secret goes.
async fn send(
    app: &App,
    tx: &mut dyn TenantTx,
    team: &Team,
    invitation: &TeamInvitation,
    secret: &SecretString,
) -> Result<()> {
    let link = format!("{}/invitations/accept?token={}", app.config.http.app_url, secret.expose_secret());
    mails::enqueue(app, tx.outbox(), &Mail::invitation(invitation, &team.name, &link)).await
}

/// 256 bits that exist in a mail alone.
fn new_secret(app: &App) -> SecretString {
    let mut bytes = [0; 32];
    app.random.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes).into()
}

fn hash_of(app: &App, secret: &SecretString) -> [u8; 32] {
    app.secrets.keyed_hash("team invitation", secret.expose_secret().as_bytes())
}
