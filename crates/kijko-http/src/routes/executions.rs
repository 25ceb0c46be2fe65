//! Executions: ask for one, look at it, cancel it, ask again. `history` has the lists.

use axum::Json as Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use kijko_core::App;
use kijko_core::domain::executions::{ExecuteRequest, Execution, ExecutionAccepted, RetryAccepted};
use kijko_core::domain::ids::{ExecutionId, SkillId};
use kijko_core::services::executions;

use super::skills::Success;
use crate::extract::{Caller, Id, Once, OptionalJson};
use crate::problem::{ProblemBody, Reply, accepted};

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

/// One execution
#[utoipa::path(get, path = "/api/v1/executions/{id}", tag = "executions", params(("id" = ExecutionId, Path)),
    responses((status = 200, body = Execution), (status = "default", body = ProblemBody)))]
pub async fn get(State(app): State<App>, Caller(ctx): Caller, Id(id): Id<ExecutionId>) -> Reply<Body<Execution>> {
    Ok(Body(executions::get(&app, &ctx, id).await?))
}

/// Cancel an execution that waits or runs
#[utoipa::path(post, path = "/api/v1/executions/{id}/cancel", tag = "executions",
    params(("id" = ExecutionId, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Asking again with the same key within 24 hours gets \
        the same reply; another request with it is refused", max_length = 255)),
    responses((status = 200, body = Success), (status = "default", body = ProblemBody)))]
pub async fn cancel(
    State(app): State<App>,
    Caller(ctx): Caller,
    Id(id): Id<ExecutionId>,
    Once(key): Once,
) -> Reply<Body<Success>> {
    executions::cancel(&app, &ctx, id, key.as_ref()).await?;
    Ok(Body(Success { success: true }))
}

/// Run what failed or was cancelled once more; the result appears at the address in `Location`
#[utoipa::path(post, path = "/api/v1/executions/{id}/retry", tag = "executions",
    params(("id" = ExecutionId, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Asking again with the same key within 24 hours gets \
        the same reply; another request with it is refused", max_length = 255)),
    responses((status = 202, body = RetryAccepted), (status = "default", body = ProblemBody)))]
pub async fn retry(
    State(app): State<App>,
    Caller(ctx): Caller,
    Id(id): Id<ExecutionId>,
    Once(key): Once,
) -> Reply<(StatusCode, HeaderMap, Body<RetryAccepted>)> {
    let metered = executions::retry(&app, &ctx, id, key.as_ref()).await?;
    accepted(format!("/api/v1/executions/{}", metered.reply.new_execution_id), metered)
}
