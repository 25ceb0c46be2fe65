//! Printing, for people or for programs. The only file that writes to the terminal.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is what the file is for")]

use kijko_core::domain::page::{Listed, Page};
use serde::Serialize;
use serde_json::json;

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

    /// One page of a list, in the form that the API gives pages.
    pub fn page<T: Serialize>(&self, listed: Listed<T>, page: Page, head: &[&str], row: impl Fn(&T) -> Vec<String>) {
        let value = json!({
            "data": listed.rows, "total": listed.total, "page": page.number(), "pageSize": page.limit(),
            "hasMore": page.has_more(listed.total),
        });
        self.answer(&value, || {
            let mut lines = table(head, listed.rows.iter().map(row).collect());
            lines.push(format!("{} of {}, page {}", listed.rows.len(), listed.total, page.number()));
            lines
        });
    }

    pub fn failure(&self, failure: &Failure) {
        if self.json {
            failure.json().iter().for_each(|value| println!("{value:#}"));
        } else {
            failure.text().iter().for_each(|text| eprintln!("{text}"));
        }
    }
}

/// Columns as wide as what is in them. What others wrote cannot steer the terminal.
pub fn table(head: &[&str], rows: Vec<Vec<String>>) -> Vec<String> {
    let head = head.iter().map(|name| (*name).to_owned()).collect();
    let harmless = |cell: String| cell.chars().filter(|c| !c.is_control()).collect::<String>();
    let rows: Vec<Vec<String>> =
        std::iter::once(head).chain(rows).map(|row: Vec<String>| row.into_iter().map(harmless).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_and_cannot_steer_the_terminal() {
        let rows = vec![vec!["é".to_owned(), "x\u{1b}[31m".to_owned()], vec!["long".to_owned(), String::new()]];
        assert_eq!(table(&["A", "B"], rows), ["A     B", "é     x[31m", "long"]);
    }
}
