//! Versions of skills: the current one from the skill, the earlier ones from where the trigger keeps them.

use std::ops::RangeInclusive;

use async_trait::async_trait;
use sqlx::types::Json;

use super::errors::translate;
use super::tx::PgTenantTx;
use crate::domain::ids::SkillId;
use crate::domain::input_schema::InputSchemaField;
use crate::domain::skill_versions::{DefinedVersion, Definition, SkillVersion};
use crate::domain::skills::Parameters;
use crate::error::Result;
use crate::ports::skill_versions::SkillVersionRepo;

#[async_trait]
impl SkillVersionRepo for PgTenantTx {
    async fn list(&mut self, skill: SkillId, numbers: RangeInclusive<i32>) -> Result<Vec<SkillVersion>> {
        let rows = sqlx::query!(
            r#"SELECT number AS "number!", user_id AS "user_id!", created_at AS "created_at!", false AS "is_current!"
                 FROM skill_versions WHERE skill_id = $1 AND number BETWEEN $2 AND $3
                UNION ALL
               SELECT version, user_id, coalesce(versioned_at, created_at), true
                 FROM skills WHERE id = $1 AND version BETWEEN $2 AND $3
                ORDER BY 1 DESC"#,
            skill.0,
            *numbers.start(),
            *numbers.end(),
        )
        .fetch_all(self.conn())
        .await
        .map_err(translate)?;
        let version = rows.into_iter().map(|row| SkillVersion {
            number: row.number,
            author_id: row.user_id.into(),
            created_at: row.created_at,
            is_current: row.is_current,
        });
        Ok(version.collect())
    }

    async fn find(&mut self, skill: SkillId, number: i32) -> Result<Option<DefinedVersion>> {
        let row = sqlx::query!(
            r#"SELECT number AS "number!", user_id AS "user_id!", created_at AS "created_at!", false AS "is_current!",
                      prompt_template AS "prompt_template!", model AS "model!",
                      model_is_default AS "model_is_default!", fallback_model,
                      parameters AS "parameters!: Json<Parameters>",
                      input_schema AS "input_schema: Json<Vec<InputSchemaField>>"
                 FROM skill_versions WHERE skill_id = $1 AND number = $2
                UNION ALL
               SELECT version, user_id, coalesce(versioned_at, created_at), true,
                      prompt_template, model, model_is_default, fallback_model, parameters, input_schema
                 FROM skills WHERE id = $1 AND version = $2"#,
            skill.0,
            number,
        )
        .fetch_optional(self.conn())
        .await
        .map_err(translate)?;
        Ok(row.map(|row| DefinedVersion {
            version: SkillVersion {
                number: row.number,
                author_id: row.user_id.into(),
                created_at: row.created_at,
                is_current: row.is_current,
            },
            definition: Definition {
                prompt_template: row.prompt_template,
                model: row.model,
                model_is_default: row.model_is_default,
                fallback_model: row.fallback_model,
                parameters: row.parameters.0,
                input_schema: row.input_schema.map(|schema| schema.0),
            },
        }))
    }
}
