//! Stars of the user in the context.

use async_trait::async_trait;

use crate::domain::ids::SkillId;
use crate::domain::time::Timestamp;
use crate::error::Result;

#[async_trait]
pub trait SkillStarRepo: Send {
    /// How many stars the skill has then; None when the user has no such skill.
    async fn set(&mut self, skill: SkillId, starred: bool, now: Timestamp) -> Result<Option<i32>>;

    /// The latest first; at most 500.
    async fn list(&mut self) -> Result<Vec<SkillId>>;
}
