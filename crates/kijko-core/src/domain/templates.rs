//! Prompt templates: `{{name}}` is replaced by a value, once, and nothing else has a meaning.

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use serde_json::{Map, Value};

use crate::domain::check::Check;
use crate::domain::input_schema::InputSchemaField;
use crate::error::{Code, Result};

/// Whether the input, with declared defaults, fits the schema. Refuses with `INVALID_INPUT`, one violation per variable.
pub fn checked_input(schema: &[InputSchemaField], input: &Map<String, Value>) -> Result<()> {
    let mut check = Check::default();
    for field in schema {
        let value = given(input, field).or(field.default.as_ref());
        let empty = value.is_none_or(|value| value.is_null() || value.as_str() == Some(""));
        if empty {
            check.that(field.required != Some(true), &field.name, "required", || format!("{} is required", field.name));
        } else if let Some(value) = value {
            check.that(field.kind.matches(value), &field.name, "type", || {
                format!("{} must be of the type {}", field.name, field.kind.as_str())
            });
        }
    }
    check.done_as(Code::InvalidInput)
}

fn given<'a>(input: &'a Map<String, Value>, field: &InputSchemaField) -> Option<&'a Value> {
    input.get(&field.name).filter(|value| !value.is_null())
}

/// Longer than any model reads. A short template may name a long value thousands of times.
pub const MAX_PROMPT_BYTES: usize = 4 << 20;

/// The prompt: every variable that has a value replaced, the others left as they stand.
/// One pass, left to right; inserted text is not looked at again. None when it would pass `MAX_PROMPT_BYTES`.
pub fn render(template: &str, schema: &[InputSchemaField], input: &Map<String, Value>) -> Option<String> {
    let mut prompt = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find("{{") {
        if prompt.len() > MAX_PROMPT_BYTES {
            return None;
        }
        prompt.push_str(&rest[..start]);
        rest = &rest[start..];
        match variable(rest) {
            Some((name, length)) => {
                match value_of(name, schema, input) {
                    Some(value) => push_value(&mut prompt, &value),
                    None => prompt.push_str(&rest[..length]),
                }
                rest = &rest[length..];
            }
            // `{{{name}}}`: the variable may begin at the next brace.
            None => {
                prompt.push('{');
                rest = &rest[1..];
            }
        }
    }
    prompt.push_str(rest);
    (prompt.len() <= MAX_PROMPT_BYTES).then_some(prompt)
}

/// The names of the variables, in the order in which they first appear.
pub fn variables(template: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = template;
    while let Some(start) = rest.find("{{") {
        rest = &rest[start..];
        match variable(rest) {
            Some((name, length)) => {
                if !names.contains(&name) {
                    names.push(name);
                }
                rest = &rest[length..];
            }
            None => rest = &rest[1..],
        }
    }
    names
}

/// The variable that `text` begins with, and how many bytes it takes.
fn variable(text: &str) -> Option<(&str, usize)> {
    let inside = text.strip_prefix("{{")?.trim_start();
    let end = inside.find(|c: char| c.is_whitespace() || matches!(c, '{' | '}'))?;
    let (name, after) = inside.split_at(end);
    let after = after.trim_start().strip_prefix("}}")?;
    (!name.is_empty()).then_some((name, text.len() - after.len()))
}

fn value_of(name: &str, schema: &[InputSchemaField], input: &Map<String, Value>) -> Option<Value> {
    match schema.iter().find(|field| field.name == name) {
        Some(field) => {
            let value = given(input, field).or(field.default.as_ref());
            Some(value.cloned().unwrap_or_else(|| field.kind.empty()))
        }
        None => input.get(name).cloned(),
    }
}

fn push_value(prompt: &mut String, value: &Value) {
    match value {
        Value::String(text) => prompt.push_str(text),
        other => {
            let mut bytes = Vec::new();
            let written = other.serialize(&mut Serializer::with_formatter(&mut bytes, WholeNumbers));
            debug_assert!(written.is_ok(), "a JSON value is always JSON");
            prompt.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
}

/// Compact JSON in which a number without fraction has no decimal point: `1`, not `1.0`.
struct WholeNumbers;

impl Formatter for WholeNumbers {
    fn write_f64<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, value: f64) -> std::io::Result<()> {
        if value.fract() == 0.0 && value.abs() < 1e15 {
            write!(writer, "{value:.0}")
        } else {
            CompactFormatter.write_f64(writer, value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::input_schema::InputType;
    use crate::error::Error;
    use proptest::prelude::*;
    use serde_json::json;

    fn field(name: &str, kind: InputType) -> InputSchemaField {
        InputSchemaField { name: name.into(), kind, description: None, required: None, default: None }
    }

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn values_are_inserted_once_and_as_they_are() {
        let check = |template: &str, input: Value, expected: &str| {
            assert_eq!(render(template, &[], &map(input)).as_deref(), Some(expected), "template {template}");
        };
        check(
            "a {{x}} b {{ y }} {{z}} {{{y}}} {{w}}",
            json!({ "x": "{{y}} $&", "y": 5, "z": null }),
            "a {{y}} $& b 5 null {5} {{w}}",
        );
        check("{{a}}{{a}}", json!({ "a": "1" }), "11");
        check("{{A}} {{a}}", json!({ "a": "x" }), "{{A}} x");
        check("{{a b}} {{}} {{ }} {{a", json!({ "a": "x" }), "{{a b}} {{}} {{ }} {{a");
        check("{{\n a \t}}", json!({ "a": "x" }), "x");
        check("{{a}", json!({ "a": "x" }), "{{a}");
        check("{{a}}}", json!({ "a": "x" }), "x}");
        check("{{a{{b}}", json!({ "b": "x" }), "{{ax");
        check("{{v}}", json!({ "v": 1.0 }), "1");
        check("{{v}}", json!({ "v": -2.5 }), "-2.5");
        check("{{v}}", json!({ "v": [1.0, "a", null, { "b": true }] }), r#"[1,"a",null,{"b":true}]"#);
        check("{{ключ}}", json!({ "ключ": "значение" }), "значение");
    }

    #[test]
    fn a_long_value_that_is_named_often_is_cut_short() {
        let input = map(json!({ "a": "x".repeat(1 << 20) }));
        assert!(render("{{a}}{{a}}{{a}}", &[], &input).is_some());
        assert_eq!(render(&"{{a}}".repeat(2000), &[], &input), None);
        assert_eq!(render("{{a}}{{a}}{{a}}{{a}}!", &[], &input), None);
    }

    #[test]
    fn a_schema_fills_what_is_missing_or_null() {
        let schema = [
            field("s", InputType::String),
            field("n", InputType::Number),
            field("b", InputType::Boolean),
            field("a", InputType::Array),
            field("o", InputType::Object),
            InputSchemaField { default: Some(json!("given")), ..field("d", InputType::String) },
        ];
        let prompt = render("[{{s}}|{{n}}|{{b}}|{{a}}|{{o}}|{{d}}]", &schema, &map(json!({ "n": null, "d": null })));
        assert_eq!(prompt.as_deref(), Some("[|0|false|[]|{}|given]"));
    }

    #[test]
    fn input_is_checked_against_the_schema() {
        let required = |kind| InputSchemaField { required: Some(true), ..field("v", kind) };
        let check = |field: InputSchemaField, input: Value| match checked_input(&[field], &map(input)) {
            Ok(()) => "ok",
            Err(Error::Invalid { code: Code::InvalidInput, violations }) => violations[0].code,
            Err(other) => panic!("input fails by validation only, not with {other:?}"),
        };
        assert_eq!(check(required(InputType::String), json!({})), "required");
        assert_eq!(check(required(InputType::String), json!({ "v": null })), "required");
        assert_eq!(check(required(InputType::String), json!({ "v": "" })), "required");
        assert_eq!(check(required(InputType::Number), json!({ "v": 0 })), "ok");
        assert_eq!(check(required(InputType::Boolean), json!({ "v": false })), "ok");
        assert_eq!(check(required(InputType::Array), json!({ "v": [] })), "ok");
        assert_eq!(check(required(InputType::Object), json!({ "v": {} })), "ok");
        assert_eq!(check(required(InputType::Number), json!({ "v": "5" })), "type");
        assert_eq!(check(required(InputType::Object), json!({ "v": [] })), "type");
        assert_eq!(check(field("v", InputType::Number), json!({ "v": "" })), "ok");
        assert_eq!(check(field("v", InputType::Number), json!({ "other": "extra" })), "ok");
        let with_default = InputSchemaField { default: Some(json!("x")), ..required(InputType::String) };
        assert_eq!(check(with_default, json!({})), "ok");
    }

    proptest! {
        #[test]
        fn text_that_came_from_a_value_is_never_expanded(value in ".{0,40}", secret in "[a-z]{8}") {
            let input = map(json!({ "a": format!("{value}{{{{b}}}}"), "b": secret }));
            prop_assert_eq!(render("<{{a}}>", &[], &input), Some(format!("<{value}{{{{b}}}}>")));
        }

        #[test]
        fn a_prompt_is_its_literals_and_values_in_their_order(
            parts in prop::collection::vec(("[^{}]{0,20}", 0..4_usize, "[ \n]{0,3}"), 0..30),
            values in prop::collection::vec(".{0,30}", 4),
        ) {
            let names = ["a", "b.c", "ключ", "d$1"];
            let input: Map<_, _> =
                names.iter().zip(&values).map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
            let (mut template, mut expected) = (String::new(), String::new());
            for (literal, variable, space) in &parts {
                template.push_str(&format!("{literal}{{{{{space}{}{space}}}}}", names[*variable]));
                expected.push_str(literal);
                expected.push_str(&values[*variable]);
            }
            prop_assert_eq!(render(&template, &[], &input), Some(expected));
        }

        #[test]
        fn input_that_fits_is_taken_and_input_of_another_type_is_named(
            kinds in prop::collection::vec(0..5_usize, 1..8),
            wrong in any::<prop::sample::Index>(),
        ) {
            let all = [InputType::String, InputType::Number, InputType::Boolean, InputType::Array, InputType::Object];
            let samples = [json!("x"), json!(1), json!(true), json!([1]), json!({ "a": 1 })];
            let name = |index: usize| format!("v{index}");
            let schema: Vec<_> = kinds.iter().enumerate().map(|(i, kind)| field(&name(i), all[*kind])).collect();
            let mut input: Map<_, _> = kinds.iter().enumerate().map(|(i, k)| (name(i), samples[*k].clone())).collect();
            prop_assert!(checked_input(&schema, &input).is_ok());
            let wrong = wrong.index(kinds.len());
            input.insert(name(wrong), samples[(kinds[wrong] + 1) % 5].clone());
            match checked_input(&schema, &input) {
                Err(Error::Invalid { violations, .. }) => {
                    let fields: Vec<_> = violations.into_iter().map(|violation| violation.field).collect();
                    prop_assert_eq!(fields, [name(wrong)]);
                }
                other => prop_assert!(false, "it fits no more, so it must be refused: {other:?}"),
            }
        }

        #[test]
        fn a_template_without_variables_is_the_prompt(template in "[^{]{0,200}") {
            prop_assert_eq!(render(&template, &[], &Map::new()), Some(template));
        }

        #[test]
        fn rendering_never_panics(template in "[{} a\u{e9}\n]{0,60}") {
            render(&template, &[], &map(json!({ "a": 1 })));
        }
    }
}
