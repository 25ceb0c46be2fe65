//! Versions of skills: the definitions that a skill had, and what changed between two of them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use similar::TextDiff;

use crate::domain::ids::UserId;
use crate::domain::input_schema::InputSchemaField;
use crate::domain::skills::{Parameters, Skill, SkillPatch};
use crate::domain::time::millis;

/// After this the rest of two texts counts as replaced: two that share no line would take seconds.
const DIFF_TIME: Duration = Duration::from_millis(50);

/// What decides the prompt of a run and who answers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    pub prompt_template: String,
    pub model: String,
    /// Whether nobody named it.
    #[serde(skip)]
    pub model_is_default: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_model: Option<String>,
    pub parameters: Parameters,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Vec<InputSchemaField>>,
}

impl From<Skill> for Definition {
    fn from(skill: Skill) -> Self {
        Self {
            prompt_template: skill.prompt_template,
            model: skill.model,
            model_is_default: skill.model_is_default,
            fallback_model: skill.fallback_model,
            parameters: skill.parameters,
            input_schema: skill.input_schema,
        }
    }
}

impl From<Definition> for SkillPatch {
    fn from(definition: Definition) -> Self {
        Self {
            prompt_template: Some(definition.prompt_template),
            model: Some(definition.model),
            model_is_default: definition.model_is_default,
            fallback_model: Some(definition.fallback_model),
            parameters: Some(definition.parameters),
            input_schema: Some(definition.input_schema),
            ..Self::default()
        }
    }
}

/// Which version it is, whose, and since when. It never changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SkillVersion {
    /// Counted from 1.
    pub number: i32,
    pub author_id: UserId,
    #[serde(serialize_with = "millis")]
    pub created_at: DateTime<Utc>,
    /// Whether runs that start now use it.
    pub is_current: bool,
}

/// A version with what it defines.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DefinedVersion {
    #[serde(flatten)]
    pub version: SkillVersion,
    #[serde(flatten)]
    pub definition: Definition,
}

/// What changed from one version to another.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct VersionDiff {
    pub from: SkillVersion,
    pub to: SkillVersion,
    /// The prompt's lines as a unified diff; empty when it is the same.
    pub prompt_diff: String,
    /// Everything else that differs.
    pub changes: Vec<FieldChange>,
}

/// One member that differs. Without `old` it was added, without `new` it was removed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldChange {
    /// Such as `model`, `parameters.temperature` or, by the variable's name, `inputSchema.language`.
    pub field: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Value>))]
    pub old: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Value>))]
    pub new: Option<Value>,
}

impl VersionDiff {
    pub fn between(from: DefinedVersion, to: DefinedVersion) -> Self {
        let (old, new) = (&from.definition, &to.definition);
        let mut changes = Vec::new();
        note(&mut changes, "model".into(), Some(old.model.clone().into()), Some(new.model.clone().into()));
        let text = |text: &Option<String>| text.clone().map(Value::from);
        note(&mut changes, "fallbackModel".into(), text(&old.fallback_model), text(&new.fallback_model));
        compare_parameters(&mut changes, &old.parameters, &new.parameters);
        compare_schemas(&mut changes, old.input_schema.as_deref(), new.input_schema.as_deref());
        let names = (format!("version {}", from.version.number), format!("version {}", to.version.number));
        let prompt_diff = unified((&names.0, &old.prompt_template), (&names.1, &new.prompt_template));
        Self { from: from.version, to: to.version, prompt_diff, changes }
    }
}

fn unified(old: (&str, &str), new: (&str, &str)) -> String {
    let diff = TextDiff::configure().timeout(DIFF_TIME).diff_lines(old.1, new.1);
    diff.unified_diff().header(old.0, new.0).to_string()
}

fn note(changes: &mut Vec<FieldChange>, field: String, old: Option<Value>, new: Option<Value>) {
    if old != new {
        changes.push(FieldChange { field, old, new });
    }
}

fn compare_parameters(changes: &mut Vec<FieldChange>, old: &Parameters, new: &Parameters) {
    let number = |number: &Option<serde_json::Number>| number.clone().map(Value::Number);
    note(changes, "parameters.temperature".into(), number(&old.temperature), number(&new.temperature));
    note(changes, "parameters.max_tokens".into(), old.max_tokens.map(Value::from), new.max_tokens.map(Value::from));
    note(changes, "parameters.top_p".into(), number(&old.top_p), number(&new.top_p));
    note(changes, "parameters.top_k".into(), old.top_k.map(Value::from), new.top_k.map(Value::from));
    let stops = |parameters: &Parameters| parameters.stop_sequences.clone().map(Value::from);
    note(changes, "parameters.stop_sequences".into(), stops(old), stops(new));
}

/// By the names of the variables; their order is a change of its own.
fn compare_schemas(changes: &mut Vec<FieldChange>, old: Option<&[InputSchemaField]>, new: Option<&[InputSchemaField]>) {
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    let find = |schema: &[InputSchemaField], name: &str| {
        schema.iter().find(|field| field.name == name).and_then(|field| serde_json::to_value(field).ok())
    };
    for field in old {
        note(changes, format!("inputSchema.{}", field.name), find(old, &field.name), find(new, &field.name));
    }
    for field in new.iter().filter(|field| old.iter().all(|other| other.name != field.name)) {
        note(changes, format!("inputSchema.{}", field.name), None, find(new, &field.name));
    }
    let kept = |schema: &[InputSchemaField], other: &[InputSchemaField]| -> Vec<String> {
        let names = schema.iter().map(|field| field.name.clone());
        names.filter(|name| other.iter().any(|field| &field.name == name)).collect()
    };
    let (before, after) = (kept(old, new), kept(new, old));
    if before != after {
        note(changes, "inputSchema".into(), Some(before.into()), Some(after.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use serde_json::json;

    fn version(number: i32, definition: Value) -> DefinedVersion {
        let author_id = UserId(uuid::Uuid::nil());
        DefinedVersion {
            version: SkillVersion { number, author_id, created_at: DateTime::UNIX_EPOCH, is_current: false },
            definition: serde_json::from_value(definition).expect("a valid definition"),
        }
    }

    fn changed(old: &Value, new: &Value) -> Vec<(String, Option<Value>, Option<Value>)> {
        let definition = |more: &Value| {
            let mut all = json!({ "promptTemplate": "p", "model": "m", "parameters": {} });
            all.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            all
        };
        let diff = VersionDiff::between(version(1, definition(old)), version(2, definition(new)));
        diff.changes.into_iter().map(|change| (change.field, change.old, change.new)).collect()
    }

    #[test]
    fn each_changed_member_is_named_with_both_values() {
        let check = |old: Value, new: Value, expected: &[(&str, Option<Value>, Option<Value>)]| {
            let expected: Vec<_> = expected.iter().map(|(f, o, n)| ((*f).to_owned(), o.clone(), n.clone())).collect();
            assert_eq!(changed(&old, &new), expected, "from {old} to {new}");
        };
        check(json!({}), json!({}), &[]);
        check(json!({}), json!({ "model": "n" }), &[("model", Some(json!("m")), Some(json!("n")))]);
        check(
            json!({ "parameters": { "temperature": 1, "top_k": 5, "stop_sequences": ["a"] } }),
            json!({ "parameters": { "temperature": 0.5, "max_tokens": 9, "stop_sequences": ["a"] } }),
            &[
                ("parameters.temperature", Some(json!(1)), Some(json!(0.5))),
                ("parameters.max_tokens", None, Some(json!(9))),
                ("parameters.top_k", Some(json!(5)), None),
            ],
        );
        let field = |name: &str, kind: &str| json!({ "name": name, "type": kind });
        check(
            json!({ "inputSchema": [field("a", "string"), field("b", "string"), field("c", "string")] }),
            json!({ "inputSchema": [field("c", "string"), field("a", "number"), field("d", "string")] }),
            &[
                ("inputSchema.a", Some(field("a", "string")), Some(field("a", "number"))),
                ("inputSchema.b", Some(field("b", "string")), None),
                ("inputSchema.d", None, Some(field("d", "string"))),
                ("inputSchema", Some(json!(["a", "c"])), Some(json!(["c", "a"]))),
            ],
        );
        check(json!({}), json!({ "inputSchema": [] }), &[]);
    }

    #[test]
    fn the_prompt_is_compared_line_by_line() {
        let diff = unified(("version 1", "one\ntwo\nthree\n"), ("version 2", "one\n2\nthree"));
        assert_eq!(
            diff,
            "--- version 1\n+++ version 2\n@@ -1,3 +1,3 @@\n one\n-two\n-three\n+2\n+three\n\\ No newline at end of file\n"
        );
        assert_eq!(unified(("a", "same\n"), ("b", "same\n")), "");
    }

    #[test]
    fn texts_that_share_nothing_are_compared_in_bounded_time() {
        let text = |word: &str| (0..2500).map(|n| format!("{word}{n}\n")).collect::<String>();
        let diff = unified(("a", &text("a")), ("b", &text("b")));
        assert_eq!(diff.lines().filter(|line| line.starts_with("-a")).count(), 2500);
        assert_eq!(diff.lines().filter(|line| line.starts_with("+b")).count(), 2500);
    }
}
