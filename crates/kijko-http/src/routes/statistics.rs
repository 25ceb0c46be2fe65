//! Statistics of one's own executions. Days and hours are UTC.

use axum::Json as Body;
use axum::extract::State;
use kijko_core::App;
use kijko_core::domain::executions::ExecutionFilter;
use kijko_core::domain::ids::SkillId;
use kijko_core::domain::statistics::{
    CostBreakdown, ExecutionStats, Granularity, Performance, Period, PeriodStats, Projection, SkillPeriodStats,
    SkillStats, SkillUsage, StatsPeriod,
};
use kijko_core::services::statistics;
use serde::{Deserialize, Serialize};

use crate::extract::{Caller, Id, Query};
use crate::problem::{ProblemBody, Reply};

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PeriodQuery {
    /// `30d` when absent.
    period: Option<StatsPeriod>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct SkillQuery {
    /// All skills when absent.
    #[serde(alias = "skill_id")]
    skill_id: Option<SkillId>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct ProjectionQuery {
    /// 1 to 365; 30 when absent.
    #[serde(alias = "days_ahead")]
    days_ahead: Option<u32>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct SpanQuery {
    /// A moment (ISO 8601) or a day, which begins at 00:00 UTC.
    #[serde(alias = "start_date")]
    start_date: Option<String>,
    /// A moment (ISO 8601) or a day, which counts to its end.
    #[serde(alias = "end_date")]
    end_date: Option<String>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct SelectionQuery {
    #[serde(alias = "start_date")]
    start_date: Option<String>,
    #[serde(alias = "end_date")]
    end_date: Option<String>,
    #[serde(alias = "skill_id")]
    skill_id: Option<SkillId>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RankingQuery {
    /// 1 to 100; 20 when absent.
    limit: Option<u32>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PeriodsQuery {
    /// 1 to 365, today being the last; 30 when absent.
    days: Option<u32>,
    /// `day` when absent.
    granularity: Option<Granularity>,
}

/// How long executions take.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Percentiles {
    p50_duration_ms: i64,
    p90_duration_ms: i64,
    p99_duration_ms: i64,
    avg_duration_ms: i64,
}

/// Your skills and their executions, of all time
#[utoipa::path(get, path = "/api/v1/skills/stats", tag = "statistics",
    responses((status = 200, body = SkillStats), (status = "default", body = ProblemBody)))]
pub async fn skills(State(app): State<App>, Caller(ctx): Caller) -> Reply<Body<SkillStats>> {
    Ok(Body(statistics::of_skills(&app, &ctx).await?))
}

/// The last days of one skill
#[utoipa::path(get, path = "/api/v1/skills/{id}/stats", tag = "statistics", params(("id" = SkillId, Path), PeriodQuery),
    responses((status = 200, body = PeriodStats), (status = "default", body = ProblemBody)))]
pub async fn skill(
    State(app): State<App>,
    Caller(ctx): Caller,
    Id(id): Id<SkillId>,
    Query(query): Query<PeriodQuery>,
) -> Reply<Body<PeriodStats>> {
    let period = query.period.unwrap_or(StatsPeriod::Month);
    Ok(Body(statistics::of_skill(&app, &ctx, id, period).await?))
}

/// The last days of all your skills, with those that ran most
#[utoipa::path(get, path = "/api/v1/skills/stats/aggregated", tag = "statistics", params(PeriodQuery),
    responses((status = 200, body = SkillPeriodStats), (status = "default", body = ProblemBody)))]
pub async fn aggregated(
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(query): Query<PeriodQuery>,
) -> Reply<Body<SkillPeriodStats>> {
    Ok(Body(statistics::aggregated(&app, &ctx, query.period.unwrap_or(StatsPeriod::Month)).await?))
}

/// How long executions take, of all time
#[utoipa::path(get, path = "/api/v1/skills/stats/percentiles", tag = "statistics", params(SkillQuery),
    responses((status = 200, body = Percentiles), (status = "default", body = ProblemBody)))]
pub async fn percentiles(
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(query): Query<SkillQuery>,
) -> Reply<Body<Percentiles>> {
    let durations = statistics::percentiles(&app, &ctx, query.skill_id).await?;
    Ok(Body(Percentiles {
        p50_duration_ms: durations.p50_ms,
        p90_duration_ms: durations.p90_ms,
        p99_duration_ms: durations.p99_ms,
        avg_duration_ms: durations.average_ms(),
    }))
}

/// What the next days will cost if they are like the last 30
#[utoipa::path(get, path = "/api/v1/skills/stats/projection", tag = "statistics", params(ProjectionQuery),
    responses((status = 200, body = Projection), (status = "default", body = ProblemBody)))]
pub async fn projection(
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(query): Query<ProjectionQuery>,
) -> Reply<Body<Projection>> {
    Ok(Body(statistics::projection(&app, &ctx, query.days_ahead.unwrap_or(30)).await?))
}

/// Your executions, counted
#[utoipa::path(get, path = "/api/v1/executions/stats", tag = "statistics", params(SelectionQuery),
    responses((status = 200, body = ExecutionStats), (status = "default", body = ProblemBody)))]
pub async fn executions(
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(query): Query<SelectionQuery>,
) -> Reply<Body<ExecutionStats>> {
    let span = ExecutionFilter::between(query.start_date.as_deref(), query.end_date.as_deref())?;
    let filter = ExecutionFilter { skill_id: query.skill_id, ..span };
    Ok(Body(statistics::of_executions(&app, &ctx, &filter).await?))
}

/// What your completed executions cost
#[utoipa::path(get, path = "/api/v1/executions/cost-breakdown", tag = "statistics", params(SpanQuery),
    responses((status = 200, body = CostBreakdown), (status = "default", body = ProblemBody)))]
pub async fn cost_breakdown(
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(query): Query<SpanQuery>,
) -> Reply<Body<CostBreakdown>> {
    let filter = ExecutionFilter::between(query.start_date.as_deref(), query.end_date.as_deref())?;
    Ok(Body(statistics::cost_breakdown(&app, &ctx, &filter).await?))
}

/// How long your executions take and how many succeed, of all time
#[utoipa::path(get, path = "/api/v1/executions/performance", tag = "statistics", params(SkillQuery),
    responses((status = 200, body = Performance), (status = "default", body = ProblemBody)))]
pub async fn performance(
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(query): Query<SkillQuery>,
) -> Reply<Body<Performance>> {
    Ok(Body(statistics::performance(&app, &ctx, query.skill_id).await?))
}

/// The skills that ran most, of all time
#[utoipa::path(get, path = "/api/v1/executions/stats/by-skill", tag = "statistics", params(RankingQuery),
    responses((status = 200, body = Vec<SkillUsage>), (status = "default", body = ProblemBody)))]
pub async fn by_skill(
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(query): Query<RankingQuery>,
) -> Reply<Body<Vec<SkillUsage>>> {
    Ok(Body(statistics::by_skill(&app, &ctx, query.limit.unwrap_or(20)).await?))
}

/// Your executions by day, week or month; those without any are left out
#[utoipa::path(get, path = "/api/v1/executions/stats/by-period", tag = "statistics", params(PeriodsQuery),
    responses((status = 200, body = Vec<Period>), (status = "default", body = ProblemBody)))]
pub async fn by_period(
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(query): Query<PeriodsQuery>,
) -> Reply<Body<Vec<Period>>> {
    let granularity = query.granularity.unwrap_or(Granularity::Day);
    Ok(Body(statistics::periods(&app, &ctx, query.days.unwrap_or(30), granularity).await?))
}
