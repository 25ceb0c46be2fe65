//! What the executions of the user in the context add up to. Each answer is exact for the executions that exist, and
//! takes no longer for a million of them than for a few.

use async_trait::async_trait;

use crate::domain::executions::ExecutionFilter;
use crate::domain::ids::{OrganizationId, SkillId, UserId};
use crate::domain::statistics::{DaySums, Durations, HourDurations, SkillSums, SkillsBy, TopSkill};
use crate::domain::time::Timestamp;
use crate::error::Result;

#[async_trait]
pub trait StatisticsRepo: Send {
    /// By day, type and status.
    async fn by_day(&mut self, filter: &ExecutionFilter) -> Result<Vec<DaySums>>;

    /// By hour of the day.
    async fn by_hour_of_day(&mut self, skill: Option<SkillId>) -> Result<Vec<HourDurations>>;

    /// Skills that exist and have such executions, the most first, then by name.
    async fn by_skill(&mut self, by: &SkillsBy, filter: &ExecutionFilter) -> Result<Vec<SkillSums>>;

    async fn durations(&mut self, skill: Option<SkillId>) -> Result<Durations>;

    /// How many skills there are, and how many of them are active.
    async fn count_skills(&mut self) -> Result<(i64, i64)>;

    /// The skills with the most completed runs ever.
    async fn most_used_skills(&mut self, limit: u32) -> Result<Vec<TopSkill>>;
}

/// What keeps the statistics of everybody quick.
#[async_trait]
pub trait AllStatisticsRepo: Send {
    /// Merges what was added since, at most so many entries; says how many that were. 0 while another process does it.
    async fn merge(&mut self, limit: i64) -> Result<u64>;

    /// Who has ended executions that were asked for before the hour in which this moment is.
    async fn owners_of_old(&mut self, before: Timestamp, limit: i64) -> Result<Vec<(OrganizationId, UserId)>>;
}
