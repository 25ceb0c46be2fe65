//! Stars. They are set and counted by a function of the database, in one step.

use async_trait::async_trait;

use super::errors::translate;
use super::tx::PgTenantTx;
use crate::domain::ids::SkillId;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ports::skill_stars::SkillStarRepo;

#[async_trait]
impl SkillStarRepo for PgTenantTx {
    async fn set(&mut self, skill: SkillId, starred: bool, now: Timestamp) -> Result<Option<i32>> {
        sqlx::query_scalar!("SELECT app.star_skill($1, $2, $3)", skill.0, starred, now)
            .fetch_one(self.conn())
            .await
            .map_err(translate)
    }

    async fn list(&mut self) -> Result<Vec<SkillId>> {
        let ids = sqlx::query_scalar!("SELECT skill_id FROM skill_stars ORDER BY created_at DESC, skill_id LIMIT 500")
            .fetch_all(self.conn())
            .await
            .map_err(translate)?;
        Ok(ids.into_iter().map(SkillId).collect())
    }
}
