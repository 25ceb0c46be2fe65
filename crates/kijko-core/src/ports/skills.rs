//! Skills of the user in the context.

use async_trait::async_trait;

use crate::domain::ids::SkillId;
use crate::domain::page::{Listed, Page};
use crate::domain::skills::{Skill, SkillFilter};
use crate::domain::time::Timestamp;
use crate::error::Result;

#[async_trait]
pub trait SkillRepo: Send {
    async fn find(&mut self, id: SkillId) -> Result<Option<Skill>>;

    /// The same, and holds the row until the transaction ends, so that a change is based on what it replaces.
    async fn find_for_update(&mut self, id: SkillId) -> Result<Option<Skill>>;

    async fn list(&mut self, filter: &SkillFilter, page: Page) -> Result<Listed<Skill>>;

    /// Refuses with `SKILL_NAME_EXISTS`.
    async fn insert(&mut self, skill: &Skill) -> Result<()>;

    /// Everything but the counters; the skill comes back with the version and the revision that this makes.
    /// Refuses with `SKILL_NAME_EXISTS`.
    async fn update(&mut self, skill: Skill) -> Result<Skill>;

    /// Says how many of them there are.
    async fn set_active(&mut self, ids: &[SkillId], is_active: bool, now: Timestamp) -> Result<u64>;

    /// Says how many there were.
    async fn delete(&mut self, ids: &[SkillId]) -> Result<u64>;
}

#[async_trait]
pub trait SkillNameRepo: Send {
    /// Those of the names that a skill of the user has, in lower case. Others who ask wait until this transaction ends.
    async fn taken(&mut self, names: &[String]) -> Result<Vec<String>>;
}
