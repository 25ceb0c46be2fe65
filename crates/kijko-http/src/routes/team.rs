//! The organisation as a team, and who belongs to it.

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use kijko_core::App;
use kijko_core::domain::ids::MemberId;
use kijko_core::domain::team::{MemberPatch, OwnershipTransfer, Team, TeamMember, TeamPatch, TeamStats};
use kijko_core::services::team;
use serde::Deserialize;

use crate::extract::{Caller, From, Id, Json, Query, SignedIn};
use crate::problem::{ProblemBody, Reply};

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct RemoveQuery {
    /// Another active member, who gets the projects of the one who goes; the owner when absent.
    #[serde(alias = "reassign_to")]
    reassign_to: Option<MemberId>,
}

/// Your organisation as a team; `null` when its plan has one seat
#[utoipa::path(get, path = "/api/v1/team", tag = "team",
    responses((status = 200, body = Option<Team>), (status = "default", body = ProblemBody)))]
pub async fn get(State(app): State<App>, Caller(ctx): Caller) -> Reply<Body<Option<Team>>> {
    Ok(Body(team::get(&app, &ctx).await?))
}

/// Give the organisation another name
#[utoipa::path(patch, path = "/api/v1/team", tag = "team", request_body = TeamPatch,
    responses((status = 200, body = Team), (status = "default", body = ProblemBody)))]
pub async fn update(State(app): State<App>, Caller(ctx): Caller, Json(patch): Json<TeamPatch>) -> Reply<Body<Team>> {
    Ok(Body(team::update(&app, &ctx, patch).await?))
}

/// Everybody who belongs to it: active, pending, inactive; then from owner to viewer
#[utoipa::path(get, path = "/api/v1/team/members", tag = "team",
    responses((status = 200, body = Vec<TeamMember>), (status = "default", body = ProblemBody)))]
pub async fn members(State(app): State<App>, Caller(ctx): Caller) -> Reply<Body<Vec<TeamMember>>> {
    Ok(Body(team::members(&app, &ctx).await?))
}

/// How many people belong to it, and how many more may
#[utoipa::path(get, path = "/api/v1/team/stats", tag = "team",
    responses((status = 200, body = TeamStats), (status = "default", body = ProblemBody)))]
pub async fn stats(State(app): State<App>, Caller(ctx): Caller) -> Reply<Body<TeamStats>> {
    Ok(Body(team::stats(&app, &ctx).await?))
}

/// Give a member another role
#[utoipa::path(patch, path = "/api/v1/team/members/{id}", tag = "team", params(("id" = MemberId, Path)),
    request_body = MemberPatch,
    responses((status = 200, body = TeamMember), (status = "default", body = ProblemBody)))]
pub async fn change_role(
    State(app): State<App>,
    Caller(ctx): Caller,
    Id(id): Id<MemberId>,
    Json(patch): Json<MemberPatch>,
) -> Reply<Body<TeamMember>> {
    Ok(Body(team::change_role(&app, &ctx, id, &patch).await?))
}

/// Shut a member out, who keeps their seat; their sessions end at once
#[utoipa::path(post, path = "/api/v1/team/members/{id}/deactivate", tag = "team", params(("id" = MemberId, Path)),
    responses((status = 200, body = TeamMember), (status = "default", body = ProblemBody)))]
pub async fn deactivate(State(app): State<App>, Caller(ctx): Caller, Id(id): Id<MemberId>) -> Reply<Body<TeamMember>> {
    Ok(Body(team::deactivate(&app, &ctx, id).await?))
}

/// Let a member in again
#[utoipa::path(post, path = "/api/v1/team/members/{id}/reactivate", tag = "team", params(("id" = MemberId, Path)),
    responses((status = 200, body = TeamMember), (status = "default", body = ProblemBody)))]
pub async fn reactivate(State(app): State<App>, Caller(ctx): Caller, Id(id): Id<MemberId>) -> Reply<Body<TeamMember>> {
    Ok(Body(team::reactivate(&app, &ctx, id).await?))
}

/// Take a member out of the organisation; their sessions end at once
#[utoipa::path(delete, path = "/api/v1/team/members/{id}", tag = "team", params(("id" = MemberId, Path), RemoveQuery),
    responses((status = 204), (status = "default", body = ProblemBody)))]
pub async fn remove(
    State(app): State<App>,
    Caller(ctx): Caller,
    Id(id): Id<MemberId>,
    Query(query): Query<RemoveQuery>,
) -> Reply<StatusCode> {
    team::remove(&app, &ctx, id, query.reassign_to).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make another member the owner, and yourself an admin
#[utoipa::path(post, path = "/api/v1/team/transfer-ownership", tag = "team", request_body = OwnershipTransfer,
    responses((status = 200, body = Team), (status = "default", body = ProblemBody)))]
pub async fn transfer_ownership(
    State(app): State<App>,
    Caller(ctx): Caller,
    SignedIn(identity): SignedIn,
    From(origin): From,
    Json(transfer): Json<OwnershipTransfer>,
) -> Reply<Body<Team>> {
    Ok(Body(team::transfer_ownership(&app, &ctx, identity.session_id(), transfer, &origin).await?))
}
