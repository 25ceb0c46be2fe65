//! Collects everything that is wrong with an input, so that a caller learns it all at once.
//!
//! Not a derive: the contract fixes the path, the sentence and the casing of every member, mixes camelCase with
//! snake_case inside `parameters`, and most rules are more than a limit.

use crate::error::{Code, Error, Result, Violation};

#[derive(Debug, Default)]
pub struct Check {
    violations: Vec<Violation>,
}

impl Check {
    /// Notes a violation unless `holds`; one per field, the first.
    pub fn that(&mut self, holds: bool, field: &str, code: &'static str, message: impl FnOnce() -> String) {
        if !holds && !self.violations.iter().any(|v| v.field == field) {
            self.violations.push(Violation { field: field.to_owned(), message: message(), code });
        }
    }

    /// Length in Unicode code points, and no character that the database cannot store.
    pub fn text(&mut self, field: &str, value: &str, min: usize, max: usize) {
        let length = value.chars().count();
        self.that(!value.contains('\0'), field, "format", || format!("{field} must not contain the character U+0000"));
        self.that((min..=max).contains(&length), field, "length", || {
            format!("{field} must have {min} to {max} characters, not {length}")
        });
    }

    pub fn range<T: PartialOrd + std::fmt::Display>(&mut self, field: &str, value: T, min: T, max: T) {
        self.that(value >= min && value <= max, field, "range", || {
            format!("{field} must be between {min} and {max}, not {value}")
        });
    }

    pub fn done(self) -> Result<()> {
        self.done_as(Code::ValidationError)
    }

    pub fn done_as(self, code: Code) -> Result<()> {
        if self.violations.is_empty() { Ok(()) } else { Err(Error::Invalid { code, violations: self.violations }) }
    }
}
