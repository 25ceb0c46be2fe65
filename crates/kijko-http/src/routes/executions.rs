//! Executions.

use axum::Json as Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use kijko_core::App;
use kijko_core::domain::executions::{
    ExecuteRequest, Execution, ExecutionAccepted, ExecutionFilter, ExecutionStatus, ExecutionType, ExecutionWithSkill,
};
use kijko_core::domain::ids::{ExecutionId, SkillId};
use kijko_core::domain::page::Page;
use kijko_core::services::executions;
use serde::{Deserialize, Serialize};

use super::skills::Success;
use crate::extract::{Caller, Id, Once, OptionalJson, Query};
use crate::problem::{ProblemBody, Reply, accepted};

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct ExecutionsQuery {
    #[serde(alias = "skill_id")]
    skill_id: Option<SkillId>,
    status: Option<ExecutionStatus>,
    #[serde(alias = "execution_type")]
    execution_type: Option<ExecutionType>,
    /// A moment (ISO 8601) or a day, which begins at 00:00 UTC.
    #[serde(alias = "start_date")]
    start_date: Option<String>,
    /// A moment (ISO 8601) or a day, which counts to its end.
    #[serde(alias = "end_date")]
    end_date: Option<String>,
    /// 1 to 100; 20 when absent.
    limit: Option<u32>,
    offset: Option<u64>,
}

/// A page of executions, newest first.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionsPage {
    executions: Vec<ExecutionWithSkill>,
    total: u64,
    page: u64,
    page_size: u32,
    has_more: bool,
}

/// Ask for a run; the result appears at the address in `Location`
#[utoipa::path(post, path = "/api/v1/skills/{id}/execute", tag = "executions",
    params(("id" = SkillId, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Asking again with the same key and body within \
        24 hours gets the same reply; another body is refused", max_length = 255)),
    request_body = Option<ExecuteRequest>,
    responses((status = 202, body = ExecutionAccepted), (status = "default", body = ProblemBody)))]
pub async fn execute(
    State(app): State<App>,
    Caller(ctx): Caller,
    Id(id): Id<SkillId>,
    Once(key): Once,
    OptionalJson(request): OptionalJson<ExecuteRequest>,
) -> Reply<(StatusCode, HeaderMap, Body<ExecutionAccepted>)> {
    let metered = executions::execute(&app, &ctx, id, request, key.as_ref()).await?;
    accepted(format!("/api/v1/executions/{}", metered.reply.execution_id), metered)
}

/// Your executions, newest first
#[utoipa::path(get, path = "/api/v1/executions", tag = "executions", params(ExecutionsQuery),
    responses((status = 200, body = ExecutionsPage), (status = "default", body = ProblemBody)))]
pub async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(query): Query<ExecutionsQuery>,
) -> Reply<Body<ExecutionsPage>> {
    let page = Page::from_offset(query.limit, query.offset)?;
    let filter = ExecutionFilter {
        skill_id: query.skill_id,
        status: query.status,
        execution_type: query.execution_type,
        ..ExecutionFilter::between(query.start_date.as_deref(), query.end_date.as_deref())?
    };
    let listed = executions::list(&app, &ctx, &filter, page).await?;
    Ok(Body(ExecutionsPage {
        executions: listed.rows,
        total: listed.total,
        page: page.number(),
        page_size: page.limit(),
        has_more: page.has_more(listed.total),
    }))
}

/// One execution
#[utoipa::path(get, path = "/api/v1/executions/{id}", tag = "executions", params(("id" = ExecutionId, Path)),
    responses((status = 200, body = Execution), (status = "default", body = ProblemBody)))]
pub async fn get(State(app): State<App>, Caller(ctx): Caller, Id(id): Id<ExecutionId>) -> Reply<Body<Execution>> {
    Ok(Body(executions::get(&app, &ctx, id).await?))
}

/// Cancel an execution that waits or runs
#[utoipa::path(post, path = "/api/v1/executions/{id}/cancel", tag = "executions", params(("id" = ExecutionId, Path)),
    responses((status = 200, body = Success), (status = "default", body = ProblemBody)))]
pub async fn cancel(State(app): State<App>, Caller(ctx): Caller, Id(id): Id<ExecutionId>) -> Reply<Body<Success>> {
    executions::cancel(&app, &ctx, id).await?;
    Ok(Body(Success { success: true }))
}
