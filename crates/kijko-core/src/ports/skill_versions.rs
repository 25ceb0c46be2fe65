//! Versions of skills of the user in the context. Nobody writes them: storing a changed skill does.

use std::ops::RangeInclusive;

use async_trait::async_trait;

use crate::domain::ids::SkillId;
use crate::domain::skill_versions::{DefinedVersion, SkillVersion};
use crate::error::Result;

#[async_trait]
pub trait SkillVersionRepo: Send {
    /// Those with these numbers, the current one among them, the latest first.
    async fn list(&mut self, skill: SkillId, numbers: RangeInclusive<i32>) -> Result<Vec<SkillVersion>>;

    async fn find(&mut self, skill: SkillId, number: i32) -> Result<Option<DefinedVersion>>;
}
