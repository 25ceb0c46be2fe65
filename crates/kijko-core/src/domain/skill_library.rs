//! What one does with skills beside editing them: look at them with all that belongs to them, copy, choose several, and
//! carry them from one installation to another.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::check::Check;
use crate::domain::executions::Execution;
use crate::domain::ids::SkillId;
use crate::domain::reading;
use crate::domain::skills::{NewSkill, Skill};
use crate::error::{Code, Error, Result, Violation};

/// A skill with what belongs to it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SkillWithRelations {
    #[serde(flatten)]
    pub skill: Skill,
    /// Always empty: there are no habits yet.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Object>))]
    pub habits: [(); 0],
    /// Always empty: there are no reflexes yet.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Object>))]
    pub reflexes: [(); 0],
    /// The latest ten, newest first.
    pub recent_executions: Vec<Execution>,
}

/// What a client sends to copy a skill.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct DuplicateRequest {
    /// The original's name with ` (Copy)` behind it when absent.
    #[serde(alias = "new_name")]
    pub new_name: Option<String>,
}

/// What a client sends to change several skills at once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SkillSelection {
    /// 1 to 100. Those that are not yours are left out.
    #[serde(alias = "skill_ids")]
    pub skill_ids: Vec<String>,
}

impl SkillSelection {
    /// From a list in a query, separated by commas.
    pub fn parse(list: &str) -> Self {
        Self { skill_ids: list.split(',').map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()).collect() }
    }

    /// Each once. What is no UUID is nobody's skill. Refuses with `VALIDATION_ERROR`.
    pub fn checked(&self) -> Result<Vec<SkillId>> {
        let mut check = Check::default();
        let count = self.skill_ids.len();
        check.that((1..=100).contains(&count), "skillIds", "length", || {
            format!("skillIds must have 1 to 100 entries, not {count}")
        });
        check.done()?;
        let mut ids: Vec<SkillId> = self.skill_ids.iter().filter_map(|id| id.parse().ok()).collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }
}

/// What was done to several skills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Selected {
    pub success: bool,
    /// How many of them there were.
    pub count: u64,
}

impl Selected {
    pub fn all(count: u64) -> Self {
        Self { success: true, count }
    }
}

/// How a skill stands with the caller's star.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Starred {
    pub starred: bool,
    pub star_count: i32,
}

/// The only version of the file format.
pub const EXPORT_VERSION: &str = "1.0";

/// A skill as a file: what its author wrote, nothing of where it was.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SkillExport {
    pub skill: NewSkill,
    pub version: String,
}

impl From<Skill> for SkillExport {
    fn from(skill: Skill) -> Self {
        Self { skill: skill.into(), version: EXPORT_VERSION.to_owned() }
    }
}

/// Such a file as it comes back, from wherever. Only its version says how the rest is to be read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SkillImport {
    #[cfg_attr(feature = "openapi", schema(value_type = NewSkill))]
    pub skill: Value,
    /// `1.0`.
    pub version: String,
}

impl SkillImport {
    /// Refuses with `UNSUPPORTED_VERSION`, and with `VALIDATION_ERROR` for what is no skill.
    pub fn into_new(self) -> Result<NewSkill> {
        if self.version != EXPORT_VERSION {
            let message = format!("version must be {EXPORT_VERSION}");
            let violation = Violation { field: "version".into(), message, code: "format" };
            return Err(Error::Invalid { code: Code::UnsupportedVersion, violations: vec![violation] });
        }
        reading::member("skill", self.skill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_file_is_read_by_its_version_and_names_what_is_wrong_in_it() {
        let check = |skill: Value, version: &str| match (SkillImport { skill, version: version.into() }).into_new() {
            Ok(_) => "ok".to_owned(),
            Err(Error::Invalid { code, violations }) => format!("{code} {}", violations[0].field),
            Err(other) => panic!("a file is refused by validation only, not with {other:?}"),
        };
        let good = json!({ "name": "A", "promptTemplate": "Summarise in one line: {{text}}", "starCount": 5 });
        assert_eq!(check(good.clone(), "1.0"), "ok");
        assert_eq!(check(good, "2.0"), "UNSUPPORTED_VERSION version");
        assert_eq!(check(json!(null), "1.1"), "UNSUPPORTED_VERSION version", "whatever else is in it");
        assert_eq!(check(json!({ "name": "A" }), "1.0"), "VALIDATION_ERROR skill.promptTemplate");
        assert_eq!(check(json!({ "name": 5 }), "1.0"), "VALIDATION_ERROR skill.name");
        assert_eq!(check(json!([]), "1.0"), "VALIDATION_ERROR skill");
        assert_eq!(check(json!(null), "1.0"), "VALIDATION_ERROR skill");
        let nested = json!({ "name": "A", "promptTemplate": "p", "inputSchema": [{ "name": "x", "type": "date" }] });
        assert_eq!(check(nested, "1.0"), "VALIDATION_ERROR skill.inputSchema[0].type");
    }

    #[test]
    fn a_selection_is_bounded_and_counts_each_once() {
        let ids = |n: usize| SkillSelection { skill_ids: (0..n).map(|n| format!("{n}")).collect() };
        assert!(ids(0).checked().is_err() && ids(101).checked().is_err());
        assert_eq!(ids(100).checked().expect("enough").len(), 0, "no UUID, no skill");
        let id = uuid::Uuid::from_u128(7).to_string();
        let twice = SkillSelection::parse(&format!(" {id},{},", id.to_uppercase()));
        assert_eq!(twice.checked().expect("two"), [SkillId(uuid::Uuid::from_u128(7))]);
    }
}
