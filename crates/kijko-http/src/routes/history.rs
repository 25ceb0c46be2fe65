//! The history of executions: lists, a file, the cleanup.

use axum::Json as Body;
use axum::extract::State;
use axum::http::HeaderName;
use kijko_core::App;
use kijko_core::domain::executions::{ExecutionFilter, ExecutionStatus, ExecutionType, ExecutionWithSkill};
use kijko_core::domain::exports::ExportFormat;
use kijko_core::domain::history::{CleanedUp, Wanted};
use kijko_core::domain::ids::{ExecutionId, SkillId};
use kijko_core::services::history;
use serde::{Deserialize, Serialize};

use crate::extract::{Caller, Id, Query};
use crate::problem::{Problem, ProblemBody, Reply};

const TRUNCATED: HeaderName = HeaderName::from_static("x-export-truncated");

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
    /// Not together with a cursor.
    offset: Option<u64>,
    /// The `nextCursor` of an earlier reply: those next to it, older.
    after: Option<String>,
    /// The `prevCursor` of an earlier reply: those next to it, newer.
    before: Option<String>,
}

/// A part of your executions, newest first.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionsPage {
    executions: Vec<ExecutionWithSkill>,
    total: u64,
    /// Absent beside a cursor, where pages are not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<u64>,
    page_size: u32,
    has_more: bool,
    /// Leads to older ones; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// Leads to newer ones; absent at the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_cursor: Option<String>,
}

/// Your executions, newest first; by page, or by cursor, which new executions do not disturb
#[utoipa::path(get, path = "/api/v1/executions", tag = "executions", params(ExecutionsQuery),
    responses((status = 200, body = ExecutionsPage), (status = "default", body = ProblemBody)))]
pub async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(query): Query<ExecutionsQuery>,
) -> Reply<Body<ExecutionsPage>> {
    let wanted = Wanted::new(query.limit, query.offset, query.after, query.before)?;
    let filter = ExecutionFilter {
        skill_id: query.skill_id,
        status: query.status,
        execution_type: query.execution_type,
        ..ExecutionFilter::between(query.start_date.as_deref(), query.end_date.as_deref())?
    };
    let part = history::list(&app, &ctx, &filter, &wanted).await?;
    Ok(Body(ExecutionsPage {
        executions: part.rows,
        total: part.total,
        page: part.page,
        page_size: part.page_size,
        has_more: part.has_more,
        next_cursor: part.next_cursor,
        prev_cursor: part.prev_cursor,
    }))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RecentQuery {
    /// 1 to 100; 10 when absent.
    limit: Option<u32>,
}

/// Your newest executions
#[utoipa::path(get, path = "/api/v1/executions/recent", tag = "executions", params(RecentQuery),
    responses((status = 200, body = Vec<ExecutionWithSkill>), (status = "default", body = ProblemBody)))]
pub async fn recent(
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(query): Query<RecentQuery>,
) -> Reply<Body<Vec<ExecutionWithSkill>>> {
    Ok(Body(history::recent(&app, &ctx, query.limit.unwrap_or(10)).await?))
}

/// Your executions that wait or run, newest first
#[utoipa::path(get, path = "/api/v1/executions/running", tag = "executions",
    responses((status = 200, body = Vec<ExecutionWithSkill>), (status = "default", body = ProblemBody)))]
pub async fn running(State(app): State<App>, Caller(ctx): Caller) -> Reply<Body<Vec<ExecutionWithSkill>>> {
    Ok(Body(history::running(&app, &ctx).await?))
}

/// One execution with its skill
#[utoipa::path(get, path = "/api/v1/executions/{id}/full", tag = "executions", params(("id" = ExecutionId, Path)),
    responses((status = 200, body = ExecutionWithSkill), (status = "default", body = ProblemBody)))]
pub async fn full(
    State(app): State<App>,
    Caller(ctx): Caller,
    Id(id): Id<ExecutionId>,
) -> Reply<Body<ExecutionWithSkill>> {
    Ok(Body(history::full(&app, &ctx, id).await?))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// `json` when absent.
    format: Option<ExportFormat>,
    #[serde(alias = "skill_id")]
    skill_id: Option<SkillId>,
    status: Option<ExecutionStatus>,
    #[serde(alias = "execution_type")]
    execution_type: Option<ExecutionType>,
    #[serde(alias = "start_date")]
    start_date: Option<String>,
    #[serde(alias = "end_date")]
    end_date: Option<String>,
}

/// A file.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Export {
    /// The text of the file.
    data: String,
    filename: String,
}

/// Your executions as a file, newest first; at most 10 000, and `X-Export-Truncated: true` when there are more
#[utoipa::path(get, path = "/api/v1/executions/export", tag = "executions", params(ExportQuery),
    responses((status = 200, body = Export), (status = "default", body = ProblemBody)))]
pub async fn export(
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(query): Query<ExportQuery>,
) -> Result<(Option<[(HeaderName, &'static str); 1]>, Body<Export>), Problem> {
    let filter = ExecutionFilter {
        skill_id: query.skill_id,
        status: query.status,
        execution_type: query.execution_type,
        ..ExecutionFilter::between(query.start_date.as_deref(), query.end_date.as_deref())?
    };
    let file = history::export(&app, &ctx, &filter, query.format.unwrap_or(ExportFormat::Json)).await?;
    let truncated = file.is_truncated.then_some([(TRUNCATED, "true")]);
    Ok((truncated, Body(Export { data: file.data, filename: file.filename })))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct CleanupQuery {
    /// 1 to 3650; 90 when absent.
    #[serde(alias = "older_than_days")]
    older_than_days: Option<u32>,
}

/// Delete your executions that have ended and are older than so many days
#[utoipa::path(delete, path = "/api/v1/executions/cleanup", tag = "executions", params(CleanupQuery),
    responses((status = 200, body = CleanedUp), (status = "default", body = ProblemBody)))]
pub async fn clean_up(
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(query): Query<CleanupQuery>,
) -> Reply<Body<CleanedUp>> {
    Ok(Body(history::clean_up(&app, &ctx, query.older_than_days.unwrap_or(90)).await?))
}
