//! Statistics of the caller's own executions. They only read: each is one question or a few to the same transaction.

use crate::app::App;
use crate::context::{Permission, TenantContext};
use crate::domain::check::Check;
use crate::domain::executions::{ExecutionFilter, ExecutionStatus};
use crate::domain::ids::SkillId;
use crate::domain::statistics::{
    CostBreakdown, Durations, ExecutionStats, Granularity, Performance, Period, PeriodStats, Projection, Ranking,
    SkillPeriodStats, SkillStats, SkillUsage, SkillsBy, StatsPeriod, by_period, last_days,
};
use crate::error::{Code, Error, Result};
use crate::ports::SystemTask;

const RUNS: &[ExecutionStatus] = &[ExecutionStatus::Completed, ExecutionStatus::Failed];
const TOP: u32 = 5;
/// No list is longer.
const MOST: u32 = 500;

/// The library and its runs, of all time.
pub async fn of_skills(app: &App, ctx: &TenantContext) -> Result<SkillStats> {
    ctx.require(Permission::ReadSkills)?;
    let mut tx = app.store.tenant(ctx).await?;
    let (total, active) = tx.statistics().count_skills().await?;
    let top = tx.statistics().most_used_skills(TOP).await?;
    let days = tx.statistics().by_day(&ExecutionFilter::default()).await?;
    Ok(SkillStats::new(&days, total, active, top))
}

/// The last days of one skill. Refuses with `SKILL_NOT_FOUND`.
pub async fn of_skill(app: &App, ctx: &TenantContext, id: SkillId, period: StatsPeriod) -> Result<PeriodStats> {
    ctx.require(Permission::ReadSkills)?;
    let now = app.clock.now();
    let mut tx = app.store.tenant(ctx).await?;
    tx.skills().find(id).await?.ok_or(Error::not_found(Code::SkillNotFound))?;
    let filter = ExecutionFilter { skill_id: Some(id), ..last_days(period.days(), now) };
    let days = tx.statistics().by_day(&filter).await?;
    Ok(PeriodStats::new(&days, period, now.date_naive()))
}

/// The last days of all skills, also of those that were deleted.
pub async fn aggregated(app: &App, ctx: &TenantContext, period: StatsPeriod) -> Result<SkillPeriodStats> {
    ctx.require(Permission::ReadSkills)?;
    let now = app.clock.now();
    let filter = last_days(period.days(), now);
    let runs = SkillsBy { ranking: Ranking::Executions, statuses: RUNS, limit: TOP };
    let mut tx = app.store.tenant(ctx).await?;
    let days = tx.statistics().by_day(&filter).await?;
    let skills = tx.statistics().by_skill(&runs, &filter).await?;
    Ok(SkillPeriodStats {
        stats: PeriodStats::new(&days, period, now.date_naive()),
        skill_breakdown: skills.into_iter().map(Into::into).collect(),
    })
}

/// How long runs take, of all time. Refuses with `SKILL_NOT_FOUND`.
pub async fn percentiles(app: &App, ctx: &TenantContext, skill: Option<SkillId>) -> Result<Durations> {
    ctx.require(Permission::ReadSkills)?;
    let mut tx = app.store.tenant(ctx).await?;
    if let Some(id) = skill {
        tx.skills().find(id).await?.ok_or(Error::not_found(Code::SkillNotFound))?;
    }
    tx.statistics().durations(skill).await
}

/// What the next days will come to if they are like the last. Refuses with `VALIDATION_ERROR`.
pub async fn projection(app: &App, ctx: &TenantContext, days_ahead: u32) -> Result<Projection> {
    ctx.require(Permission::ReadSkills)?;
    checked("daysAhead", days_ahead, 365)?;
    let mut tx = app.store.tenant(ctx).await?;
    let days = tx.statistics().by_day(&last_days(Projection::BASIS, app.clock.now())).await?;
    Ok(Projection::new(&days, days_ahead))
}

/// The executions that fit the filter.
pub async fn of_executions(app: &App, ctx: &TenantContext, filter: &ExecutionFilter) -> Result<ExecutionStats> {
    ctx.require(Permission::ReadSkills)?;
    let mut tx = app.store.tenant(ctx).await?;
    let days = tx.statistics().by_day(filter).await?;
    Ok(ExecutionStats::new(&days, app.clock.now().date_naive()))
}

/// What completed executions cost, by what they ran, how they began, and when.
pub async fn cost_breakdown(app: &App, ctx: &TenantContext, filter: &ExecutionFilter) -> Result<CostBreakdown> {
    ctx.require(Permission::ReadSkills)?;
    let completed = &[ExecutionStatus::Completed];
    let by_cost = SkillsBy { ranking: Ranking::Cost, statuses: completed, limit: MOST };
    let mut tx = app.store.tenant(ctx).await?;
    let days = tx.statistics().by_day(filter).await?;
    let skills = tx.statistics().by_skill(&by_cost, filter).await?.into_iter().map(Into::into).collect();
    Ok(CostBreakdown::new(&days, skills, app.clock.now().date_naive()))
}

/// How long runs take and how many succeed, of all time.
pub async fn performance(app: &App, ctx: &TenantContext, skill: Option<SkillId>) -> Result<Performance> {
    ctx.require(Permission::ReadSkills)?;
    let filter = ExecutionFilter { skill_id: skill, ..ExecutionFilter::default() };
    let mut tx = app.store.tenant(ctx).await?;
    let durations = tx.statistics().durations(skill).await?;
    let hours = tx.statistics().by_hour_of_day(skill).await?;
    let days = tx.statistics().by_day(&filter).await?;
    Ok(Performance::new(&durations, &hours, &days))
}

/// The skills that ran most, of all time. Refuses with `VALIDATION_ERROR`.
pub async fn by_skill(app: &App, ctx: &TenantContext, limit: u32) -> Result<Vec<SkillUsage>> {
    ctx.require(Permission::ReadSkills)?;
    checked("limit", limit, 100)?;
    let by_runs = SkillsBy { ranking: Ranking::Executions, statuses: ExecutionStatus::ALL, limit };
    let mut tx = app.store.tenant(ctx).await?;
    let skills = tx.statistics().by_skill(&by_runs, &ExecutionFilter::default()).await?;
    Ok(skills.into_iter().map(Into::into).collect())
}

/// The last days, by day, week or month. Refuses with `VALIDATION_ERROR`.
pub async fn periods(app: &App, ctx: &TenantContext, days: u32, granularity: Granularity) -> Result<Vec<Period>> {
    ctx.require(Permission::ReadSkills)?;
    checked("days", days, 365)?;
    let mut tx = app.store.tenant(ctx).await?;
    let days = tx.statistics().by_day(&last_days(days, app.clock.now())).await?;
    Ok(by_period(&days, granularity))
}

/// Merges what was added to the statistics of everybody since the last time.
pub(crate) async fn merge(app: &App) -> Result<()> {
    const AT_A_TIME: i64 = 5_000;
    loop {
        let mut tx = app.store.system(SystemTask::MergeStatistics).await?;
        let merged = tx.statistics().merge(AT_A_TIME).await?;
        tx.commit().await?;
        if merged < AT_A_TIME.unsigned_abs() {
            return Ok(());
        }
    }
}

fn checked(field: &str, value: u32, max: u32) -> Result<()> {
    let mut check = Check::default();
    check.range(field, value, 1, max);
    check.done()
}
