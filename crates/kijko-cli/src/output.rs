//! Printing, for people or for programs. The only file that writes to the terminal.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is what the file is for")]

use serde::Serialize;

use crate::exit::Failure;

pub struct Output {
    pub json: bool,
}

impl Output {
    /// The answer of a command: `value` as JSON, or the lines for people.
    pub fn answer(&self, value: &impl Serialize, lines: impl FnOnce() -> Vec<String>) {
        if self.json {
            println!("{}", serde_json::to_string_pretty(value).unwrap_or_default());
        } else {
            lines().iter().for_each(|line| println!("{line}"));
        }
    }

    pub fn failure(&self, failure: &Failure) {
        if self.json {
            failure.json().iter().for_each(|value| println!("{value:#}"));
        } else {
            failure.text().iter().for_each(|text| eprintln!("{text}"));
        }
    }
}
