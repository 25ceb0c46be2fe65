//! Skills beside each other.

use serde::Serialize;

use super::{SkillRuns, Sums, rounded};
use crate::domain::ids::SkillId;

/// What the executions of one skill add up to.
#[derive(Clone, Debug)]
pub struct SkillSums {
    pub skill_id: SkillId,
    pub name: String,
    pub sums: Sums,
    pub completed: i64,
    pub failed: i64,
}

/// What a skill cost.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SkillCost {
    pub skill_id: SkillId,
    pub skill_name: String,
    pub cost_cents: i64,
    pub execution_count: i64,
}

impl From<SkillSums> for SkillCost {
    fn from(skill: SkillSums) -> Self {
        Self {
            skill_id: skill.skill_id,
            skill_name: skill.name,
            cost_cents: skill.sums.cost_cents,
            execution_count: skill.sums.executions,
        }
    }
}

impl From<SkillSums> for SkillRuns {
    fn from(skill: SkillSums) -> Self {
        Self { skill_id: skill.skill_id, name: skill.name, runs: skill.sums.executions }
    }
}

/// All executions of a skill, in any state.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SkillUsage {
    pub skill_id: SkillId,
    pub skill_name: String,
    pub total_executions: i64,
    pub successful: i64,
    pub failed: i64,
    /// Of executions that have a duration, with one decimal; absent when none has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avg_duration_ms: Option<f64>,
    pub total_tokens: i64,
    pub total_cost_cents: i64,
}

impl From<SkillSums> for SkillUsage {
    fn from(skill: SkillSums) -> Self {
        let Sums { executions, tokens, cost_cents, duration_ms, timed } = skill.sums;
        let tenths = rounded(10 * duration_ms, timed);
        Self {
            skill_id: skill.skill_id,
            skill_name: skill.name,
            total_executions: executions,
            successful: skill.completed,
            failed: skill.failed,
            // Written and read: the nearest number to these digits, without arithmetic on it.
            avg_duration_ms: (timed > 0).then(|| format!("{}.{}", tenths / 10, tenths % 10).parse().ok()).flatten(),
            total_tokens: tokens,
            total_cost_cents: cost_cents,
        }
    }
}
