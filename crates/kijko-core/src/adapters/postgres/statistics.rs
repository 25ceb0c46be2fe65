//! What executions add up to: whole hours from `execution_statistics`, the pieces of hours at both ends and what still
//! waits or runs from the executions themselves. All of one answer in one statement, so that nothing is missed or
//! counted twice while runs end.

use async_trait::async_trait;
use chrono::NaiveDate;
use sqlx::types::Uuid;
use sqlx::{FromRow, Postgres, QueryBuilder};

use super::errors::translate;
use super::tx::{PgSystemTx, PgTenantTx};
use crate::domain::executions::{ExecutionFilter, ExecutionStatus, ExecutionType};
use crate::domain::ids::{OrganizationId, SkillId, UserId};
use crate::domain::statistics::{Cut, DaySums, Durations, HourDurations, Ranking, SkillSums, SkillsBy, Sums, TopSkill};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ports::statistics::{AllStatisticsRepo, StatisticsRepo};

const SUMS: &str = "sum(executions)::bigint AS executions, sum(tokens)::bigint AS tokens, \
     sum(cost_cents)::bigint AS cost_cents, sum(duration_ms)::bigint AS duration_ms, sum(timed)::bigint AS timed";

/// Which entries of the table answer.
#[derive(Clone, Copy, PartialEq)]
enum Grain {
    Hour,
    Skill,
    SkillHour,
    /// Those of `Skill` less what `SkillHour` has from before: the shorter way to most of a long time.
    SkillSince,
}

/// `FROM (…) source WHERE …`: what fits the filter, each entry with `at`, the beginning of its hour or its own moment.
fn push_source(query: &mut QueryBuilder<Postgres>, grain: Grain, filter: &ExecutionFilter) {
    let cut = Cut::new(filter.from, filter.to);
    let skill = filter.skill_id.map(|skill| skill.0);
    query.push(
        " FROM (SELECT hour AS at, skill_id, execution_type, status, executions, tokens, cost_cents, duration_ms, timed
                  FROM execution_statistics WHERE grain = ",
    );
    // Literals, so that a partial index can be seen to fit.
    query.push(match grain {
        Grain::Hour => "'hour' AND skill_id = '00000000-0000-0000-0000-000000000000'",
        Grain::Skill | Grain::SkillSince => "'skill'",
        Grain::SkillHour => "'skill_hour'",
    });
    if let Some(skill) = skill {
        query.push(" AND skill_id = ").push_bind(skill);
    }
    if matches!(grain, Grain::Hour | Grain::SkillHour) {
        query.push(" AND hour >= ").push_bind(cut.first_hour).push(" AND hour < ").push_bind(cut.end_of_hours);
    }
    if grain == Grain::SkillSince {
        query.push(
            " UNION ALL SELECT hour, skill_id, execution_type, status, -executions, -tokens, -cost_cents, -duration_ms,
                     -timed
                FROM execution_statistics WHERE grain = 'skill_hour' AND hour < ",
        );
        query.push_bind(cut.first_hour);
        if let Some(skill) = skill {
            query.push(" AND skill_id = ").push_bind(skill);
        }
    }
    let mut executions = |condition: &str, from: Timestamp, end: Timestamp| {
        query.push(
            " UNION ALL SELECT executed_at, skill_id, execution_type, status, 1,
                     coalesce(prompt_tokens + completion_tokens, 0), coalesce(cost_cents, 0), coalesce(duration_ms, 0),
                     CASE WHEN duration_ms IS NULL THEN 0 ELSE 1 END
                FROM skill_executions WHERE status IN ",
        );
        query.push(condition).push(" AND executed_at >= ").push_bind(from).push(" AND executed_at < ").push_bind(end);
        if let Some(skill) = skill {
            query.push(" AND skill_id = ").push_bind(skill);
        }
    };
    executions("('pending', 'running')", cut.from, cut.end);
    if grain != Grain::Skill {
        executions("('completed', 'failed', 'cancelled')", cut.from, cut.first_hour);
        executions("('completed', 'failed', 'cancelled')", cut.end_of_hours, cut.end);
    }
    query.push(") source WHERE true");
    if let Some(status) = filter.status {
        query.push(" AND status = ").push_bind(status.as_str());
    }
    if let Some(kind) = filter.execution_type {
        query.push(" AND execution_type = ").push_bind(kind.as_str());
    }
}

fn grain_of(filter: &ExecutionFilter) -> Grain {
    if filter.skill_id.is_some() { Grain::SkillHour } else { Grain::Hour }
}

impl PgTenantTx {
    /// Whether less of the history lies before this moment than after it, going by the time that it takes up. Either
    /// way leads to the same sums.
    async fn is_early(&mut self, moment: Timestamp) -> Result<bool> {
        let is_early = sqlx::query_scalar!(
            r#"SELECT coalesce($1 - min(hour) < max(hour) - $1, false) AS "is_early!" FROM execution_statistics
                WHERE grain = 'hour' AND skill_id = '00000000-0000-0000-0000-000000000000'"#,
            moment,
        );
        is_early.fetch_one(self.conn()).await.map_err(translate)
    }
}

/// How many executions fit.
pub(super) async fn count(tx: &mut PgTenantTx, filter: &ExecutionFilter) -> Result<u64> {
    let mut query = QueryBuilder::new("SELECT coalesce(sum(executions), 0)::bigint");
    push_source(&mut query, grain_of(filter), filter);
    let count: i64 = query.build_query_scalar().fetch_one(tx.conn()).await.map_err(translate)?;
    Ok(count.unsigned_abs())
}

#[derive(FromRow)]
struct SumsRow {
    executions: i64,
    tokens: i64,
    cost_cents: i64,
    duration_ms: i64,
    timed: i64,
}

impl From<SumsRow> for Sums {
    fn from(row: SumsRow) -> Self {
        let SumsRow { executions, tokens, cost_cents, duration_ms, timed } = row;
        Self { executions, tokens, cost_cents, duration_ms, timed }
    }
}

#[derive(FromRow)]
struct DayRow {
    day: NaiveDate,
    execution_type: String,
    status: String,
    #[sqlx(flatten)]
    sums: SumsRow,
}

impl TryFrom<DayRow> for DaySums {
    type Error = Error;

    fn try_from(row: DayRow) -> Result<Self> {
        let unknown = |what: String| Error::internal("reading statistics", what);
        Ok(Self {
            day: row.day,
            execution_type: ExecutionType::parse(&row.execution_type).ok_or_else(|| unknown(row.execution_type))?,
            status: ExecutionStatus::parse(&row.status).ok_or_else(|| unknown(row.status))?,
            sums: row.sums.into(),
        })
    }
}

#[derive(FromRow)]
struct SkillRow {
    id: Uuid,
    name: String,
    completed: i64,
    failed: i64,
    #[sqlx(flatten)]
    sums: SumsRow,
}

impl From<SkillRow> for SkillSums {
    fn from(row: SkillRow) -> Self {
        let SkillRow { id, name, completed, failed, sums } = row;
        Self { skill_id: id.into(), name, sums: sums.into(), completed, failed }
    }
}

#[derive(FromRow)]
struct DurationsRow {
    count: i64,
    sum_ms: i64,
    p50_ms: i64,
    p90_ms: i64,
    p99_ms: i64,
}

#[async_trait]
impl StatisticsRepo for PgTenantTx {
    async fn by_day(&mut self, filter: &ExecutionFilter) -> Result<Vec<DaySums>> {
        let mut query =
            QueryBuilder::new(format!("SELECT (at AT TIME ZONE 'UTC')::date AS day, execution_type, status, {SUMS}"));
        push_source(&mut query, grain_of(filter), filter);
        query.push(" GROUP BY 1, 2, 3");
        let rows: Vec<DayRow> = query.build_query_as().fetch_all(self.conn()).await.map_err(translate)?;
        rows.into_iter().map(DaySums::try_from).collect()
    }

    async fn by_hour_of_day(&mut self, skill: Option<SkillId>) -> Result<Vec<HourDurations>> {
        let (grain, skill) = match skill {
            Some(skill) => ("skill_hour", skill.0),
            None => ("hour", Uuid::nil()),
        };
        let rows = sqlx::query!(
            r#"SELECT extract(hour FROM hour AT TIME ZONE 'UTC')::int AS "hour!",
                      sum(measured)::bigint AS "count!", sum(duration_ms)::bigint AS "duration_ms!"
                 FROM execution_statistics WHERE grain = $1 AND skill_id = $2 AND status = 'completed' GROUP BY 1"#,
            grain,
            skill,
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        let hours = rows.into_iter().map(|row| HourDurations {
            hour: row.hour.unsigned_abs(),
            count: row.count,
            duration_ms: row.duration_ms,
        });
        Ok(hours.collect())
    }

    async fn by_skill(&mut self, by: &SkillsBy, filter: &ExecutionFilter) -> Result<Vec<SkillSums>> {
        let grain = match (filter.from, filter.to) {
            (None, None) => Grain::Skill,
            (Some(from), None) if self.is_early(from).await? => Grain::SkillSince,
            _ => Grain::SkillHour,
        };
        let statuses: Vec<String> = by.statuses.iter().map(|status| status.as_str().to_owned()).collect();
        let mut query = QueryBuilder::new(format!(
            "SELECT s.id, s.name, t.* FROM (SELECT skill_id, {SUMS},
                    coalesce(sum(executions) FILTER (WHERE status = 'completed'), 0)::bigint AS completed,
                    coalesce(sum(executions) FILTER (WHERE status = 'failed'), 0)::bigint AS failed"
        ));
        push_source(&mut query, grain, filter);
        query.push(" AND status = ANY(").push_bind(statuses);
        query.push(") GROUP BY skill_id HAVING sum(executions) > 0) t JOIN skills s ON s.id = t.skill_id ORDER BY ");
        query.push(match by.ranking {
            Ranking::Executions => "executions",
            Ranking::Cost => "cost_cents",
        });
        query.push(" DESC, s.name, s.id LIMIT ").push_bind(i64::from(by.limit));
        let rows: Vec<SkillRow> = query.build_query_as().fetch_all(self.conn()).await.map_err(translate)?;
        Ok(rows.into_iter().map(SkillSums::from).collect())
    }

    async fn durations(&mut self, skill: Option<SkillId>) -> Result<Durations> {
        // Each place is counted from its nearer end, in an index that holds nothing but these durations.
        let of_skill = if skill.is_some() { "AND skill_id = $2" } else { "" };
        let grain = if skill.is_some() { "skill" } else { "hour" };
        let place = |order: &str, at: &str| {
            format!(
                "coalesce((SELECT duration_ms FROM skill_executions
                            WHERE status = 'completed' AND duration_ms > 0 {of_skill}
                            ORDER BY duration_ms {order} OFFSET (SELECT greatest({at}, 0) FROM all_of_them) LIMIT 1), 0)"
            )
        };
        let sql = format!(
            "WITH all_of_them AS (
                 SELECT coalesce(sum(measured), 0)::bigint AS n, coalesce(sum(duration_ms), 0)::bigint AS sum_ms
                   FROM execution_statistics WHERE grain = $1 AND skill_id = $2 AND status = 'completed')
             SELECT n AS count, sum_ms, {} AS p50_ms, {} AS p90_ms, {} AS p99_ms FROM all_of_them",
            place("", "n * 50 / 100"),
            place("DESC", "n - 1 - n * 90 / 100"),
            place("DESC", "n - 1 - n * 99 / 100"),
        );
        let row: DurationsRow = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(grain)
            .bind(skill.map_or(Uuid::nil(), |skill| skill.0))
            .fetch_one(self.conn())
            .await
            .map_err(translate)?;
        let DurationsRow { count, sum_ms, p50_ms, p90_ms, p99_ms } = row;
        Ok(Durations { count, sum_ms, p50_ms, p90_ms, p99_ms })
    }

    async fn count_skills(&mut self) -> Result<(i64, i64)> {
        let row =
            sqlx::query!(r#"SELECT count(*) AS "all!", count(*) FILTER (WHERE is_active) AS "active!" FROM skills"#)
                .fetch_one(self.conn())
                .await
                .map_err(translate)?;
        Ok((row.all, row.active))
    }

    async fn most_used_skills(&mut self, limit: u32) -> Result<Vec<TopSkill>> {
        let rows = sqlx::query!(
            "SELECT id, name, execution_count FROM skills ORDER BY execution_count DESC, name, id LIMIT $1",
            i64::from(limit),
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        let skill = |id: Uuid, name, count: i32| TopSkill { skill_id: id.into(), name, count: count.into() };
        Ok(rows.into_iter().map(|row| skill(row.id, row.name, row.execution_count)).collect())
    }
}

#[async_trait]
impl AllStatisticsRepo for PgSystemTx {
    async fn merge(&mut self, limit: i64) -> Result<u64> {
        // Two at a time would be right as well, and wait for each other.
        let is_alone = sqlx::query_scalar!(
            r#"SELECT pg_try_advisory_xact_lock(hashtextextended('merging statistics', 0)) AS "locked!""#
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)?;
        if !is_alone {
            return Ok(0);
        }
        let merged = sqlx::query_scalar!(
            r#"WITH new AS MATERIALIZED (
                   SELECT organization_id, user_id, grain, skill_id, hour, execution_type, status
                     FROM execution_statistics WHERE is_new ORDER BY organization_id, user_id LIMIT $1
               ), gone AS (
                   DELETE FROM execution_statistics s USING (SELECT DISTINCT * FROM new) k
                    WHERE s.organization_id = k.organization_id AND s.user_id = k.user_id AND s.grain = k.grain
                      AND s.skill_id = k.skill_id AND s.hour = k.hour
                      AND s.execution_type = k.execution_type AND s.status = k.status
                   RETURNING s.*
               ), merged AS (
                   INSERT INTO execution_statistics (organization_id, user_id, grain, skill_id, hour, execution_type,
                          status, executions, tokens, cost_cents, duration_ms, timed, measured, is_new)
                   SELECT organization_id, user_id, grain, skill_id, hour, execution_type, status, sum(executions),
                          sum(tokens), sum(cost_cents), sum(duration_ms), sum(timed), sum(measured), false
                     FROM gone GROUP BY 1, 2, 3, 4, 5, 6, 7
                   HAVING (sum(executions), sum(tokens), sum(cost_cents), sum(duration_ms), sum(timed), sum(measured))
                          <> (0, 0, 0, 0, 0, 0)
               )
               SELECT count(*) AS "count!" FROM new"#,
            limit,
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)?;
        Ok(merged.unsigned_abs())
    }

    async fn owners_of_old(&mut self, before: Timestamp, limit: i64) -> Result<Vec<(OrganizationId, UserId)>> {
        let rows = sqlx::query!(
            "SELECT DISTINCT organization_id, user_id FROM execution_statistics
              WHERE grain = 'hour' AND hour < $1 LIMIT $2",
            before,
            limit,
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        Ok(rows.into_iter().map(|row| (row.organization_id.into(), row.user_id.into())).collect())
    }
}
