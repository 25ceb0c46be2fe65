//! Skills. The policies confine every statement to the user in the context.

use async_trait::async_trait;
use sqlx::types::{Json, Uuid};
use sqlx::{FromRow, Postgres, QueryBuilder};

use super::errors::translate;
use super::tx::PgTenantTx;
use crate::domain::ids::SkillId;
use crate::domain::input_schema::InputSchemaField;
use crate::domain::page::{Listed, Page};
use crate::domain::skills::{OutputFormat, Parameters, Skill, SkillCategory, SkillFilter, SkillSort};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ports::skills::{SkillNameRepo, SkillRepo};

const COLUMNS: &str = "id, user_id, name, description, category, prompt_template, model, model_is_default, \
     fallback_model, parameters, input_schema, output_format, is_active, version, revision, execution_count, star_count, \
     last_executed_at, created_at, updated_at";

#[derive(FromRow)]
struct SkillRow {
    id: Uuid,
    user_id: Uuid,
    name: String,
    description: Option<String>,
    category: String,
    prompt_template: String,
    model: String,
    model_is_default: bool,
    fallback_model: Option<String>,
    parameters: Json<Parameters>,
    input_schema: Option<Json<Vec<InputSchemaField>>>,
    output_format: String,
    is_active: bool,
    version: i32,
    revision: i64,
    execution_count: i32,
    star_count: i32,
    last_executed_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl TryFrom<SkillRow> for Skill {
    type Error = Error;

    fn try_from(row: SkillRow) -> Result<Self> {
        let unknown = |what: String| Error::internal("reading a skill", what);
        Ok(Skill {
            id: row.id.into(),
            user_id: row.user_id.into(),
            name: row.name,
            description: row.description,
            category: SkillCategory::parse(&row.category).ok_or_else(|| unknown(row.category))?,
            prompt_template: row.prompt_template,
            model: row.model,
            model_is_default: row.model_is_default,
            fallback_model: row.fallback_model,
            parameters: row.parameters.0,
            input_schema: row.input_schema.map(|schema| schema.0),
            output_format: OutputFormat::parse(&row.output_format).ok_or_else(|| unknown(row.output_format))?,
            is_active: row.is_active,
            is_public: false,
            version: row.version,
            revision: row.revision,
            execution_count: row.execution_count,
            star_count: row.star_count,
            last_executed_at: row.last_executed_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// The skills among these that the user can see.
pub(super) async fn find_all(tx: &mut PgTenantTx, ids: &[Uuid]) -> Result<Vec<Skill>> {
    let mut query = QueryBuilder::<Postgres>::new(format!("SELECT {COLUMNS} FROM skills WHERE id = ANY("));
    query.push_bind(ids).push(")");
    let rows: Vec<SkillRow> = query.build_query_as().fetch_all(tx.conn()).await.map_err(translate)?;
    rows.into_iter().map(Skill::try_from).collect()
}

fn push_filter(query: &mut QueryBuilder<Postgres>, filter: &SkillFilter) {
    query.push(" FROM skills WHERE true");
    if !filter.categories.is_empty() {
        let categories: Vec<String> = filter.categories.iter().map(|c| c.as_str().to_owned()).collect();
        query.push(" AND category = ANY(").push_bind(categories).push(")");
    }
    if let Some(is_active) = filter.is_active {
        query.push(" AND is_active = ").push_bind(is_active);
    }
    if let Some(search) = &filter.search {
        // Not LIKE: `%`, `_` and `\` are to be taken literally.
        query.push(" AND (strpos(lower(name), lower(").push_bind(search.clone());
        query.push(")) > 0 OR strpos(lower(description), lower(").push_bind(search.clone()).push(")) > 0)");
    }
}

fn order(sort: SkillSort) -> &'static str {
    match sort {
        SkillSort::Updated => " ORDER BY updated_at DESC, id",
        SkillSort::Created => " ORDER BY created_at DESC, id",
        SkillSort::Name => " ORDER BY lower(name), id",
        SkillSort::MostUsed => " ORDER BY execution_count DESC, id",
        SkillSort::Popular => " ORDER BY star_count DESC, id",
    }
}

#[async_trait]
impl SkillRepo for PgTenantTx {
    async fn find(&mut self, id: SkillId) -> Result<Option<Skill>> {
        let row = sqlx::query_as!(
            SkillRow,
            r#"SELECT id, user_id, name, description, category, prompt_template, model, model_is_default,
                      fallback_model, parameters AS "parameters: Json<Parameters>",
                      input_schema AS "input_schema: Json<Vec<InputSchemaField>>",
                      output_format, is_active, version, revision, execution_count, star_count, last_executed_at,
                      created_at, updated_at
                 FROM skills WHERE id = $1"#,
            id.0,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        row.map(Skill::try_from).transpose()
    }

    async fn find_for_update(&mut self, id: SkillId) -> Result<Option<Skill>> {
        sqlx::query!("SELECT id FROM skills WHERE id = $1 FOR UPDATE", id.0)
            .fetch_optional(self.conn())
            .await
            .map_err(translate)?;
        SkillRepo::find(self, id).await
    }

    async fn list(&mut self, filter: &SkillFilter, page: Page) -> Result<Listed<Skill>> {
        let mut count = QueryBuilder::<Postgres>::new("SELECT count(*)");
        push_filter(&mut count, filter);
        let total: i64 = count.build_query_scalar().fetch_one(self.conn()).await.map_err(translate)?;

        let mut query = QueryBuilder::<Postgres>::new(format!("SELECT {COLUMNS}"));
        push_filter(&mut query, filter);
        query.push(order(filter.sort)).push(" LIMIT ").push_bind(i64::from(page.limit()));
        query.push(" OFFSET ").push_bind(i64::try_from(page.offset()).unwrap_or(i64::MAX));
        let rows: Vec<SkillRow> = query.build_query_as().fetch_all(self.conn()).await.map_err(translate)?;
        let rows = rows.into_iter().map(Skill::try_from).collect::<Result<_>>()?;
        Ok(Listed { rows, total: total.unsigned_abs() })
    }

    async fn insert(&mut self, skill: &Skill) -> Result<()> {
        sqlx::query!(
            "INSERT INTO skills (id, name, description, category, prompt_template, model, parameters, input_schema,
                                 output_format, is_active, created_at, updated_at, model_is_default, fallback_model)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
            skill.id.0,
            skill.name,
            skill.description,
            skill.category.as_str(),
            skill.prompt_template,
            skill.model,
            Json(&skill.parameters) as _,
            skill.input_schema.as_ref().map(Json) as _,
            skill.output_format.as_str(),
            skill.is_active,
            skill.created_at,
            skill.updated_at,
            skill.model_is_default,
            skill.fallback_model,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(())
    }

    async fn update(&mut self, skill: Skill) -> Result<Skill> {
        let counted = sqlx::query!(
            "UPDATE skills
                SET name = $2, description = $3, category = $4, prompt_template = $5, model = $6, parameters = $7,
                    input_schema = $8, output_format = $9, is_active = $10, updated_at = $11,
                    model_is_default = $12, fallback_model = $13
              WHERE id = $1 RETURNING version, revision",
            skill.id.0,
            skill.name,
            skill.description,
            skill.category.as_str(),
            skill.prompt_template,
            skill.model,
            Json(&skill.parameters) as _,
            skill.input_schema.as_ref().map(Json) as _,
            skill.output_format.as_str(),
            skill.is_active,
            skill.updated_at,
            skill.model_is_default,
            skill.fallback_model,
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)?;
        Ok(Skill { version: counted.version, revision: counted.revision, ..skill })
    }

    async fn set_active(&mut self, ids: &[SkillId], is_active: bool, now: Timestamp) -> Result<u64> {
        // Held in the order of their ids, so that two who choose the same skills wait for each other, and not in a ring.
        let done = sqlx::query!(
            "WITH held AS MATERIALIZED (SELECT id FROM skills WHERE id = ANY($1) ORDER BY id FOR UPDATE)
             UPDATE skills SET is_active = $2, updated_at = $3 FROM held WHERE skills.id = held.id",
            &uuids(ids),
            is_active,
            now,
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(done.rows_affected())
    }

    async fn delete(&mut self, ids: &[SkillId]) -> Result<u64> {
        let done = sqlx::query!(
            "WITH held AS MATERIALIZED (SELECT id FROM skills WHERE id = ANY($1) ORDER BY id FOR UPDATE)
             DELETE FROM skills USING held WHERE skills.id = held.id",
            &uuids(ids),
        )
        .execute(self.conn())
        .await
        .map_err(translate)?;
        Ok(done.rows_affected())
    }
}

#[async_trait]
impl SkillNameRepo for PgTenantTx {
    async fn taken(&mut self, names: &[String]) -> Result<Vec<String>> {
        sqlx::query_scalar!(
            r#"SELECT pg_advisory_xact_lock(hashtextextended('skill names:' || app.current_user_id()::text, 0))
                      IS NULL AS "locked!""#
        )
        .fetch_one(self.conn())
        .await
        .map_err(translate)?;
        let names: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
        sqlx::query_scalar!(r#"SELECT lower(name) AS "name!" FROM skills WHERE lower(name) = ANY($1)"#, &names)
            .fetch_all(self.conn())
            .await
            .map_err(translate)
    }
}

pub(super) fn uuids(ids: &[SkillId]) -> Vec<Uuid> {
    ids.iter().map(|id| id.0).collect()
}
