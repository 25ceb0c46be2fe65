//! Tests of skills.

use axum::Json as Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use kijko_core::App;
use kijko_core::domain::ids::SkillId;
use kijko_core::domain::test_runs::{DraftTest, TestRequest, TestRun, TestRunId};
use kijko_core::domain::usage::Metered;
use kijko_core::services::test_runs;

use crate::extract::{Caller, Id, Json, Once, OptionalJson};
use crate::problem::{ProblemBody, Reply, accepted};

/// Test a skill, active or not; nothing is kept but the result, for an hour
#[utoipa::path(post, path = "/api/v1/skills/{id}/test", tag = "tests",
    params(("id" = SkillId, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Asking again with the same key and body within \
        24 hours gets the same reply; another body is refused", max_length = 255)),
    request_body = Option<TestRequest>,
    responses((status = 202, body = TestRun), (status = "default", body = ProblemBody)))]
pub async fn skill(
    State(app): State<App>,
    Caller(ctx): Caller,
    Id(id): Id<SkillId>,
    Once(key): Once,
    OptionalJson(request): OptionalJson<TestRequest>,
) -> Reply<(StatusCode, HeaderMap, Body<TestRun>)> {
    begun(test_runs::test_skill(&app, &ctx, id, request, key.as_ref()).await?)
}

/// Test a skill that is not stored
#[utoipa::path(post, path = "/api/v1/skills/test", tag = "tests", request_body = DraftTest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Asking again with the same key and body within \
        24 hours gets the same reply; another body is refused", max_length = 255)),
    responses((status = 202, body = TestRun), (status = "default", body = ProblemBody)))]
pub async fn draft(
    State(app): State<App>,
    Caller(ctx): Caller,
    Once(key): Once,
    Json(draft): Json<DraftTest>,
) -> Reply<(StatusCode, HeaderMap, Body<TestRun>)> {
    begun(test_runs::test_draft(&app, &ctx, draft, key.as_ref()).await?)
}

fn begun(metered: Metered<TestRun>) -> Reply<(StatusCode, HeaderMap, Body<TestRun>)> {
    accepted(format!("/api/v1/skills/test/{}", metered.reply.execution_id), metered)
}

/// The result of a test, for an hour after its end
#[utoipa::path(get, path = "/api/v1/skills/test/{id}", tag = "tests", params(("id" = String, Path)),
    responses((status = 200, body = TestRun), (status = "default", body = ProblemBody)))]
pub async fn get(State(app): State<App>, Caller(ctx): Caller, Id(id): Id<TestRunId>) -> Reply<Body<TestRun>> {
    Ok(Body(test_runs::get(&app, &ctx, id).await?))
}
