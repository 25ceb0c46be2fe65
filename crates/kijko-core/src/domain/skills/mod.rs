//! Skills: reusable prompts with a model and an input schema, and the rules they must keep.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};

use crate::domain::check::Check;
use crate::domain::ids::{SkillId, UserId};
use crate::domain::input_schema::{InputSchemaField, check_schema};
use crate::domain::time::{Timestamp, millis, millis_option};
use crate::domain::vocabulary::vocabulary;
use crate::error::{Error, Result};

mod filter;
mod names;
mod parameters;
mod revision;

pub use filter::{SkillFilter, SkillSort};
pub use names::{copy_name, numbered_name};
pub use parameters::Parameters;
pub use revision::BasedOn;

pub const DEFAULT_MODEL: &str = "claude-3-5-sonnet-20241022";

vocabulary!(SkillCategory {
    Analysis = "analysis",
    Generation = "generation",
    Transformation = "transformation",
    Communication = "communication",
    Automation = "automation",
    Custom = "custom",
});

impl SkillCategory {
    /// Several, separated by commas. Refuses with `VALIDATION_ERROR`.
    pub fn parse_list(text: &str) -> Result<Vec<Self>> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names
            .map(|name| {
                Self::parse(name).ok_or_else(|| {
                    let all: Vec<_> = Self::ALL.iter().map(|c| c.as_str()).collect();
                    Error::invalid("category", "format", format!("category must be one of {}", all.join(", ")))
                })
            })
            .collect()
    }
}

vocabulary!(
    /// A hint for whoever shows the output; the server does not check that the output is of this kind.
    OutputFormat { Markdown = "markdown", Json = "json", Text = "text", Html = "html", Code = "code" }
);

/// A skill as its owner sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Skill {
    pub id: SkillId,
    pub user_id: UserId,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub category: SkillCategory,
    pub prompt_template: String,
    /// The default where nobody named one; the plan may then choose another when the skill runs.
    pub model: String,
    /// Whether nobody named the model.
    #[serde(skip)]
    pub model_is_default: bool,
    /// Stands in when the provider of `model` is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_model: Option<String>,
    pub parameters: Parameters,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Vec<InputSchemaField>>,
    pub output_format: OutputFormat,
    pub is_active: bool,
    /// Always false in this version.
    pub is_public: bool,
    /// Which definition this is, counted from 1: prompt, model, parameters and input schema make it up.
    pub version: i32,
    /// Counts edits of any kind, but neither runs nor stars. In quotes it is the `ETag`.
    pub revision: i64,
    /// Runs that reached `completed`.
    pub execution_count: i32,
    pub star_count: i32,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "millis_option")]
    pub last_executed_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "millis")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "millis")]
    pub updated_at: DateTime<Utc>,
}

/// What a client sends to create a skill.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NewSkill {
    /// 1 to 100 characters: letters, digits, white space, hyphen, underscore, parentheses. Unique per owner.
    pub name: String,
    /// At most 500 characters; empty means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<SkillCategory>,
    /// 20 to 10 000 characters; variables are written `{{name}}`.
    #[serde(alias = "prompt_template")]
    pub prompt_template: String,
    /// 1 to 100 characters. Resolved when the skill runs, not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// 1 to 100 characters. Stands in when the provider of `model` is down, as long as nothing was shown.
    #[serde(alias = "fallback_model", skip_serializing_if = "Option::is_none")]
    pub fallback_model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Parameters>,
    #[serde(alias = "input_schema", skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Vec<InputSchemaField>>,
    #[serde(alias = "output_format", skip_serializing_if = "Option::is_none")]
    pub output_format: Option<OutputFormat>,
    #[serde(alias = "is_active", skip_serializing_if = "Option::is_none")]
    pub is_active: Option<bool>,
}

impl NewSkill {
    /// The skill that this describes, or everything that is wrong with it.
    pub fn into_skill(self, id: SkillId, user_id: UserId, now: Timestamp) -> Result<Skill> {
        let skill = Skill {
            id,
            user_id,
            name: self.name.trim().to_owned(),
            description: self.description.filter(|text| !text.is_empty()),
            category: self.category.unwrap_or(SkillCategory::Custom),
            prompt_template: self.prompt_template,
            model_is_default: self.model.is_none(),
            model: self.model.unwrap_or_else(|| DEFAULT_MODEL.to_owned()),
            fallback_model: self.fallback_model,
            parameters: self.parameters.unwrap_or_else(Parameters::for_new_skill),
            input_schema: self.input_schema,
            output_format: self.output_format.unwrap_or(OutputFormat::Markdown),
            is_active: self.is_active.unwrap_or(true),
            is_public: false,
            version: 1,
            revision: 1,
            execution_count: 0,
            star_count: 0,
            last_executed_at: None,
            created_at: now,
            updated_at: now,
        };
        skill.check()?;
        Ok(skill)
    }
}

impl From<Skill> for NewSkill {
    /// What its author wrote.
    fn from(skill: Skill) -> Self {
        Self {
            name: skill.name,
            description: skill.description,
            category: Some(skill.category),
            prompt_template: skill.prompt_template,
            model: Some(skill.model),
            fallback_model: skill.fallback_model,
            parameters: Some(skill.parameters),
            input_schema: skill.input_schema,
            output_format: Some(skill.output_format),
            is_active: Some(skill.is_active),
        }
    }
}

/// What a client sends to change a skill. Absent members keep their value; null clears those that may be empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct SkillPatch {
    #[serde(deserialize_with = "present")]
    pub name: Option<String>,
    #[serde(deserialize_with = "present")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub description: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    pub category: Option<SkillCategory>,
    #[serde(alias = "prompt_template", deserialize_with = "present")]
    pub prompt_template: Option<String>,
    #[serde(deserialize_with = "present")]
    pub model: Option<String>,
    /// The model is what it is because nobody named one; for going back to a definition where that was so.
    #[serde(skip)]
    pub model_is_default: bool,
    #[serde(alias = "fallback_model", deserialize_with = "present")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub fallback_model: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    pub parameters: Option<Parameters>,
    #[serde(alias = "input_schema", deserialize_with = "present")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<InputSchemaField>>))]
    pub input_schema: Option<Option<Vec<InputSchemaField>>>,
    #[serde(alias = "output_format", deserialize_with = "present")]
    pub output_format: Option<OutputFormat>,
    #[serde(alias = "is_active", deserialize_with = "present")]
    pub is_active: Option<bool>,
}

/// Tells a member that is null from one that is absent.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl SkillPatch {
    /// The skill after the change, or everything that is wrong with it. Storing it counts version and revision.
    pub fn apply(self, skill: Skill, now: Timestamp) -> Result<Skill> {
        let skill = Skill {
            name: self.name.map_or(skill.name, |name| name.trim().to_owned()),
            description: self.description.unwrap_or(skill.description).filter(|text| !text.is_empty()),
            category: self.category.unwrap_or(skill.category),
            prompt_template: self.prompt_template.unwrap_or(skill.prompt_template),
            model_is_default: self.model_is_default || (skill.model_is_default && self.model.is_none()),
            model: self.model.unwrap_or(skill.model),
            fallback_model: self.fallback_model.unwrap_or(skill.fallback_model),
            parameters: self.parameters.unwrap_or(skill.parameters),
            input_schema: self.input_schema.unwrap_or(skill.input_schema),
            output_format: self.output_format.unwrap_or(skill.output_format),
            is_active: self.is_active.unwrap_or(skill.is_active),
            updated_at: now,
            ..skill
        };
        skill.check()?;
        Ok(skill)
    }
}

impl Skill {
    fn check(&self) -> Result<()> {
        let mut check = Check::default();
        check.text("name", &self.name, 1, 100);
        check.that(self.name.chars().all(is_name_character), "name", "format", || {
            "name may have letters A to Z, digits, spaces, hyphens, underscores and parentheses only".into()
        });
        if let Some(description) = &self.description {
            check.text("description", description, 1, 500);
        }
        check.text("promptTemplate", &self.prompt_template, 20, 10_000);
        check.text("model", &self.model, 1, 100);
        if let Some(fallback_model) = &self.fallback_model {
            check.text("fallbackModel", fallback_model, 1, 100);
        }
        self.parameters.check(&mut check);
        check_schema(&mut check, self.input_schema.as_deref().unwrap_or_default());
        check.done()
    }
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c.is_whitespace() || matches!(c, '-' | '_' | '(' | ')')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(body: Value) -> Vec<String> {
        let new: NewSkill = serde_json::from_value(body).expect("the types are right");
        match new.into_skill(SkillId(uuid::Uuid::nil()), UserId(uuid::Uuid::nil()), Timestamp::UNIX_EPOCH) {
            Ok(_) => Vec::new(),
            Err(Error::Invalid { violations, .. }) => violations.into_iter().map(|v| v.field).collect(),
            Err(other) => panic!("a new skill fails by validation only, not with {other:?}"),
        }
    }

    fn with(member: &str, value: Value) -> Value {
        let mut body = json!({ "name": "Summary", "promptTemplate": "Summarise in one line: {{text}}" });
        body[member] = value;
        body
    }

    #[test]
    fn limits_hold_at_their_edges() {
        for (member, good, bad) in [
            ("name", json!("x".repeat(100)), json!("x".repeat(101))),
            ("name", json!(" Review (Copy) - v_2 "), json!("Prüfung")),
            ("name", json!("x"), json!("   ")),
            ("description", json!(""), json!("x".repeat(501))),
            ("description", json!("x".repeat(500)), json!("nul \u{0}")),
            ("promptTemplate", json!("é".repeat(20)), json!("é".repeat(19))),
            ("promptTemplate", json!("x".repeat(10_000)), json!("x".repeat(10_001))),
            ("model", json!("gpt-4"), json!("")),
            (
                "inputSchema",
                json!([]),
                json!((0..51).map(|n| json!({"name": format!("n{n}"), "type": "string"})).collect::<Vec<_>>()),
            ),
        ] {
            assert_eq!(check(with(member, good.clone())), Vec::<String>::new(), "{member} = {good} is allowed");
            assert_eq!(check(with(member, bad.clone())), vec![member.to_owned()], "{member} = {bad} is not");
        }
    }

    #[test]
    fn parameters_are_checked_by_their_own_names() {
        for (member, good, bad) in [
            ("temperature", json!(0), json!(1.01)),
            ("max_tokens", json!(8192), json!(8193)),
            ("max_tokens", json!(1), json!(0)),
            ("top_p", json!(1), json!(0)),
            ("top_k", json!(500), json!(501)),
            ("stop_sequences", json!(["a", "b", "c", "d", "e"]), json!(["a", "b", "c", "d", "e", "f"])),
        ] {
            assert_eq!(check(with("parameters", json!({ member: good }))), Vec::<String>::new());
            assert_eq!(check(with("parameters", json!({ member: bad }))), vec![format!("parameters.{member}")]);
        }
    }

    #[test]
    fn schema_fields_are_named_by_their_position() {
        let fields = json!([
            { "name": "a", "type": "string" },
            { "name": "a", "type": "string" },
            { "name": "b c", "type": "number", "default": "5" },
        ]);
        assert_eq!(
            check(with("inputSchema", fields)),
            ["inputSchema[1].name", "inputSchema[2].name", "inputSchema[2].default"]
        );
    }

    #[test]
    fn parameters_are_stored_as_given() {
        let new: NewSkill = serde_json::from_value(with("parameters", json!({ "temperature": 1, "unknown": true })))
            .expect("the types are right");
        let skill = new
            .into_skill(SkillId(uuid::Uuid::nil()), UserId(uuid::Uuid::nil()), Timestamp::UNIX_EPOCH)
            .expect("a valid skill");
        assert_eq!(serde_json::to_string(&skill.parameters).expect("JSON"), r#"{"temperature":1}"#);
    }

    #[test]
    fn null_clears_only_what_may_be_empty() {
        let patch: SkillPatch =
            serde_json::from_value(json!({ "description": null, "inputSchema": null })).expect("legal");
        assert_eq!((patch.description, patch.input_schema), (Some(None), Some(None)));
        for member in ["name", "promptTemplate", "parameters", "isActive", "model", "category", "outputFormat"] {
            assert!(serde_json::from_value::<SkillPatch>(json!({ member: null })).is_err(), "{member} cannot be null");
        }
    }
}
