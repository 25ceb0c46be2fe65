//! Reading what a client sent: JSON as the types that the domain names, and what the parser says as the field and the
//! rule, so that every front end answers the same.

use serde::de::DeserializeOwned;

use crate::error::Error;

/// Why something could not be read.
#[derive(Debug)]
pub enum Unreadable {
    /// It is no JSON at all; where it stops being some.
    Syntax(String),
    /// It is JSON, but not what was asked for.
    Invalid(Error),
}

/// A JSON object.
pub fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut deserializer);
    match parsed {
        // The parser calls a number where a word is expected bad syntax, too.
        Err(error) if !error.inner().is_data() && serde_json::from_slice::<serde_json::Value>(bytes).is_err() => {
            let at = (error.inner().line(), error.inner().column());
            Err(Unreadable::Syntax(format!("The body is not valid JSON: see line {}, column {}", at.0, at.1)))
        }
        // A struct could be read from an array too; the contract knows objects only.
        _ if !bytes.trim_ascii_start().starts_with(b"{") => {
            Err(Unreadable::Invalid(Error::invalid("body", "type", "The body must be a JSON object")))
        }
        Err(error) => {
            let path = error.path().to_string();
            Err(Unreadable::Invalid(mistake(&path, &error.into_inner().to_string())))
        }
        Ok(value) => {
            let end = deserializer.end();
            end.map_err(|_| Unreadable::Syntax("The body has something after its JSON object".into()))?;
            Ok(value)
        }
    }
}

/// A member that was kept as it came, as what it turned out to be. An object.
pub fn member<T: DeserializeOwned>(name: &str, value: serde_json::Value) -> Result<T, Error> {
    if !value.is_object() {
        return Err(Error::invalid(name, "type", format!("{name} must be a JSON object")));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let inside = error.path().to_string();
        let path = if inside == "." { name.to_owned() } else { format!("{name}.{inside}") };
        mistake(&path, &error.into_inner().to_string())
    })
}

/// What the parser says, as the field and the rule.
pub fn mistake(path: &str, message: &str) -> Error {
    // Long values are quoted in full by the parser, and they are the caller's own.
    let message: String = message.split(" at line ").next().unwrap_or(message).chars().take(300).collect();
    let quoted = || message.split('`').nth(1).unwrap_or_default();
    let inside = |member: &str| match path {
        "." | "" => member.to_owned(),
        _ if path.ends_with(member) => path.to_owned(),
        _ => format!("{path}.{member}"),
    };
    if message.starts_with("missing field") {
        let field = inside(quoted());
        return Error::invalid(&field, "required", format!("{field} is required"));
    }
    if message.starts_with("duplicate field") {
        let field = inside(quoted());
        return Error::invalid(&field, "unique", format!("{field} is given twice"));
    }
    let field = if matches!(path, "." | "") { "body" } else { path };
    let code = if message.starts_with("unknown variant") { "format" } else { "type" };
    Error::invalid(field, code, format!("{field}: {message}"))
}
