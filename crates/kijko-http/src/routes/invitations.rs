//! Inviting people into an organisation, and joining one.

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use kijko_core::App;
use kijko_core::domain::ids::InvitationId;
use kijko_core::domain::invitations::{InvitationPreview, InvitationToken, InviteMemberData, TeamInvitation};
use kijko_core::domain::team::TeamMember;
use kijko_core::services::invitations;

use crate::extract::{Caller, From, Id, Json, Query, SignedIn};
use crate::problem::{ProblemBody, Reply};

/// Invitations of every status, pending ones first
#[utoipa::path(get, path = "/api/v1/team/invitations", operation_id = "invitations", tag = "team",
    responses((status = 200, body = Vec<TeamInvitation>), (status = "default", body = ProblemBody)))]
pub async fn list(State(app): State<App>, Caller(ctx): Caller) -> Reply<Body<Vec<TeamInvitation>>> {
    Ok(Body(invitations::list(&app, &ctx).await?))
}

/// Invite people by e-mail: all of them, or none
#[utoipa::path(post, path = "/api/v1/team/invitations", tag = "team", request_body = InviteMemberData,
    responses((status = 201, body = Vec<TeamInvitation>), (status = "default", body = ProblemBody)))]
pub async fn invite(
    State(app): State<App>,
    Caller(ctx): Caller,
    Json(invite): Json<InviteMemberData>,
) -> Reply<(StatusCode, Body<Vec<TeamInvitation>>)> {
    Ok((StatusCode::CREATED, Body(invitations::invite(&app, &ctx, invite).await?)))
}

/// Send the mail again with a new link, which can be used for seven days
#[utoipa::path(post, path = "/api/v1/team/invitations/{id}/resend", operation_id = "resend_invitation", tag = "team",
    params(("id" = InvitationId, Path)),
    responses((status = 200, body = TeamInvitation), (status = "default", body = ProblemBody)))]
pub async fn resend(
    State(app): State<App>,
    Caller(ctx): Caller,
    Id(id): Id<InvitationId>,
) -> Reply<Body<TeamInvitation>> {
    Ok(Body(invitations::resend(&app, &ctx, id).await?))
}

/// Withdraw an invitation
#[utoipa::path(delete, path = "/api/v1/team/invitations/{id}", operation_id = "cancel_invitation", tag = "team",
    params(("id" = InvitationId, Path)),
    responses((status = 204), (status = "default", body = ProblemBody)))]
pub async fn cancel(State(app): State<App>, Caller(ctx): Caller, Id(id): Id<InvitationId>) -> Reply<StatusCode> {
    invitations::cancel(&app, &ctx, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What an invitation says, for whoever followed its link
#[utoipa::path(get, path = "/api/v1/team/invitations/lookup", operation_id = "look_up_invitation", tag = "team",
    params(("token" = String, Query, description = "The secret out of the link in the mail")), security(()),
    responses((status = 200, body = InvitationPreview), (status = "default", body = ProblemBody)))]
pub async fn lookup(State(app): State<App>, Query(query): Query<InvitationToken>) -> Reply<Body<InvitationPreview>> {
    Ok(Body(invitations::look_up(&app, &query).await?))
}

/// Join the organisation that you were invited to
#[utoipa::path(post, path = "/api/v1/team/invitations/accept", operation_id = "accept_invitation", tag = "team",
    request_body = InvitationToken,
    responses((status = 200, body = TeamMember), (status = "default", body = ProblemBody)))]
pub async fn accept(
    State(app): State<App>,
    SignedIn(identity): SignedIn,
    From(origin): From,
    Json(request): Json<InvitationToken>,
) -> Reply<Body<TeamMember>> {
    Ok(Body(invitations::accept(&app, &identity, &request, &origin).await?))
}
