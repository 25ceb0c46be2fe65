//! Parts of the history. The ids come out of an index alone, however many are skipped; then those rows are read.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::types::Uuid;
use sqlx::{Postgres, QueryBuilder};

use super::errors::translate;
use super::executions::{COLUMNS, ExecutionRow};
use super::tx::PgTenantTx;
use crate::domain::executions::{Execution, ExecutionFilter, ExecutionWithSkill};
use crate::domain::history::{Deleted, Part, Place};
use crate::domain::ids::{ExecutionId, SkillId};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ports::history::HistoryRepo;

const NEWEST_FIRST: &str = " ORDER BY executed_at DESC, id DESC";
const OLDEST_FIRST: &str = " ORDER BY executed_at, id";

fn push_filter(query: &mut QueryBuilder<Postgres>, filter: &ExecutionFilter) {
    query.push(" FROM skill_executions WHERE true");
    if let Some(skill) = filter.skill_id {
        query.push(" AND skill_id = ").push_bind(skill.0);
    }
    if let Some(status) = filter.status {
        query.push(" AND status = ").push_bind(status.as_str());
    }
    if let Some(kind) = filter.execution_type {
        query.push(" AND execution_type = ").push_bind(kind.as_str());
    }
    if let Some(from) = filter.from {
        query.push(" AND executed_at >= ").push_bind(from);
    }
    if let Some(to) = filter.to {
        query.push(" AND executed_at <= ").push_bind(to);
    }
}

fn push_place(query: &mut QueryBuilder<Postgres>, comparison: &str, place: Place) {
    query.push(" AND (executed_at, id) ").push(comparison).push(" (").push_bind(place.executed_at);
    query.push(", ").push_bind(place.id.0).push(")");
}

impl PgTenantTx {
    async fn with_skills(&mut self, mut query: QueryBuilder<Postgres>) -> Result<Vec<ExecutionWithSkill>> {
        let rows: Vec<ExecutionRow> = query.build_query_as().fetch_all(self.conn()).await.map_err(translate)?;
        let mut ids: Vec<Uuid> = rows.iter().filter_map(ExecutionRow::skill_id).collect();
        ids.sort_unstable();
        ids.dedup();
        let skills: HashMap<SkillId, _> =
            super::skills::find_all(self, &ids).await?.into_iter().map(|skill| (skill.id, skill)).collect();
        let with_skill = |row: ExecutionRow| {
            let execution = Execution::try_from(row)?;
            let skill = execution.skill_id.and_then(|id| skills.get(&id)).cloned();
            Ok(ExecutionWithSkill { execution, skill })
        };
        rows.into_iter().map(with_skill).collect()
    }
}

#[async_trait]
impl HistoryRepo for PgTenantTx {
    async fn part(&mut self, filter: &ExecutionFilter, part: &Part, limit: u32) -> Result<Vec<ExecutionWithSkill>> {
        let mut query =
            QueryBuilder::new(format!("SELECT {COLUMNS} FROM skill_executions WHERE id = ANY (ARRAY(SELECT id"));
        push_filter(&mut query, filter);
        match *part {
            Part::Offset(offset) => {
                query.push(NEWEST_FIRST).push(" OFFSET ").push_bind(i64::try_from(offset).unwrap_or(i64::MAX));
            }
            Part::After(place) => {
                push_place(&mut query, "<", place);
                query.push(NEWEST_FIRST);
            }
            Part::Before(place) => {
                push_place(&mut query, ">", place);
                query.push(OLDEST_FIRST);
            }
        }
        query.push(" LIMIT ").push_bind(i64::from(limit)).push("))").push(NEWEST_FIRST);
        self.with_skills(query).await
    }

    async fn count(&mut self, filter: &ExecutionFilter) -> Result<u64> {
        super::statistics::count(self, filter).await
    }

    async fn active(&mut self, limit: u32) -> Result<Vec<ExecutionWithSkill>> {
        let mut query = QueryBuilder::new(format!(
            "SELECT {COLUMNS} FROM skill_executions WHERE status IN ('pending', 'running'){NEWEST_FIRST} LIMIT "
        ));
        query.push_bind(i64::from(limit));
        self.with_skills(query).await
    }

    async fn find(&mut self, id: ExecutionId) -> Result<Option<ExecutionWithSkill>> {
        let mut query = QueryBuilder::new(format!("SELECT {COLUMNS} FROM skill_executions WHERE id = "));
        query.push_bind(id.0);
        Ok(self.with_skills(query).await?.pop())
    }

    async fn delete_before(&mut self, moment: Timestamp, limit: u32) -> Result<Deleted> {
        let row = sqlx::query!(
            r#"SELECT deleted AS "count!", bytes AS "bytes!" FROM app.delete_executions($1, $2)"#,
            moment,
            i32::try_from(limit).unwrap_or(i32::MAX),
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)?;
        Ok(Deleted { count: row.count.unsigned_abs(), bytes: row.bytes.unsigned_abs() })
    }
}
