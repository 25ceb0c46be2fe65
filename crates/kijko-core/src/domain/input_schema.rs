//! What a skill asks for: the variables of its template, their types and defaults.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::check::Check;
use crate::domain::vocabulary::vocabulary;

vocabulary!(InputType {
    String = "string",
    Number = "number",
    Boolean = "boolean",
    Array = "array",
    Object = "object",
});

impl InputType {
    pub fn matches(self, value: &Value) -> bool {
        match self {
            InputType::String => value.is_string(),
            InputType::Number => value.is_number(),
            InputType::Boolean => value.is_boolean(),
            InputType::Array => value.is_array(),
            InputType::Object => value.is_object(),
        }
    }

    /// What a form shows for a field that nobody filled in.
    pub fn empty(self) -> Value {
        match self {
            InputType::String => Value::String(String::new()),
            InputType::Number => Value::from(0),
            InputType::Boolean => Value::Bool(false),
            InputType::Array => Value::Array(Vec::new()),
            InputType::Object => Value::Object(serde_json::Map::new()),
        }
    }
}

/// One variable that a skill asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InputSchemaField {
    /// Name of the template variable: 1 to 100 characters, no white space, no braces.
    pub name: String,
    #[serde(rename = "type")]
    pub kind: InputType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// Used where the caller sends nothing; must be of the field's type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Value>))]
    pub default: Option<Value>,
}

pub(super) fn check_schema(check: &mut Check, schema: &[InputSchemaField]) {
    check.that(schema.len() <= 50, "inputSchema", "length", || {
        format!("inputSchema must have at most 50 fields, not {}", schema.len())
    });
    let mut names = std::collections::HashSet::new();
    for (index, field) in schema.iter().enumerate().take(50) {
        let path = format!("inputSchema[{index}].name");
        check.text(&path, &field.name, 1, 100);
        check.that(!field.name.chars().any(|c| c.is_whitespace() || matches!(c, '{' | '}')), &path, "format", || {
            format!("{path} must not contain white space or braces")
        });
        check.that(names.insert(field.name.as_str()), &path, "unique", || {
            format!("{path} repeats the name {:?}", field.name)
        });
        if let Some(description) = &field.description {
            check.text(&format!("inputSchema[{index}].description"), description, 0, 500);
        }
        if let Some(default) = &field.default {
            let path = format!("inputSchema[{index}].default");
            check.that(field.kind.matches(default), &path, "type", || {
                format!("{path} must be of the type {}", field.kind.as_str())
            });
            check.that(depth(default) <= MAX_DEPTH, &path, "range", || {
                format!("{path} must not be nested deeper than {MAX_DEPTH} levels")
            });
            check.that(!contains_nul(default), &path, "format", || {
                format!("{path} must not contain the character U+0000")
            });
        }
    }
}

/// How deep values of variables may be nested.
pub const MAX_DEPTH: usize = 32;

pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Whether any text inside, keys included, has the one character that PostgreSQL cannot store.
pub fn contains_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(contains_nul),
        Value::Object(members) => members.iter().any(|(key, value)| key.contains('\0') || contains_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
