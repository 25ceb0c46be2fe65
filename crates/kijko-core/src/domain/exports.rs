//! The history as a file: JSON or CSV, of a bounded size.

use std::fmt::Write as _;

use chrono::{DateTime, NaiveDate, Utc};

use crate::domain::executions::{Execution, ExecutionWithSkill};
use crate::domain::vocabulary::vocabulary;
use crate::error::{Code, Error, Result, Violation};

vocabulary!(ExportFormat { Json = "json", Csv = "csv" });

/// More are left out, and that is said.
pub const MAX_ROWS: u32 = 10_000;
/// Of the file.
pub const MAX_BYTES: usize = 64 << 20;
const HEADERS: &str =
    "id,skillId,skillName,executionType,status,tokensUsed,durationMs,costCents,executedAt,completedAt";

/// A file that was written.
#[derive(Clone, Debug)]
pub struct Exported {
    pub data: String,
    pub filename: String,
    /// There are more executions than a file may have.
    pub is_truncated: bool,
}

/// A file that is being written.
#[derive(Debug)]
pub struct ExportFile {
    format: ExportFormat,
    data: String,
    rows: u32,
}

impl ExportFile {
    pub fn new(format: ExportFormat) -> Self {
        let data = match format {
            ExportFormat::Json => "[".to_owned(),
            ExportFormat::Csv => HEADERS.to_owned(),
        };
        Self { format, data, rows: 0 }
    }

    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Refuses with `EXPORT_TOO_LARGE`.
    pub fn push(&mut self, row: &ExecutionWithSkill) -> Result<()> {
        match self.format {
            ExportFormat::Json => self.push_json(row)?,
            ExportFormat::Csv => self.push_csv(row),
        }
        self.rows += 1;
        // The closing of the file is two characters more.
        if self.data.len() + 2 > MAX_BYTES { Err(too_large()) } else { Ok(()) }
    }

    /// The whole file, named after the day.
    pub fn finish(mut self, today: NaiveDate, is_truncated: bool) -> Exported {
        if self.format == ExportFormat::Json {
            self.data.push_str(if self.rows == 0 { "]" } else { "\n]" });
        }
        let filename = format!("executions-{today}.{}", self.format.as_str());
        Exported { data: self.data, filename, is_truncated }
    }

    fn push_json(&mut self, row: &ExecutionWithSkill) -> Result<()> {
        let text = serde_json::to_string_pretty(row).map_err(|e| Error::internal("writing an export", e))?;
        if self.rows > 0 {
            self.data.push(',');
        }
        // In JSON a line break is never part of a text.
        for line in text.lines() {
            self.data.push_str("\n  ");
            self.data.push_str(line);
        }
        Ok(())
    }

    fn push_csv(&mut self, row: &ExecutionWithSkill) {
        let Execution { id, skill_id, execution_type, status, executed_at, completed_at, .. } = &row.execution;
        let text = |value: Option<i64>| value.map(|value| value.to_string()).unwrap_or_default();
        let moment = |at: &DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let cells = [
            id.to_string(),
            skill_id.map(|id| id.to_string()).unwrap_or_default(),
            row.skill.as_ref().map(|skill| skill.name.clone()).unwrap_or_default(),
            execution_type.as_str().to_owned(),
            status.as_str().to_owned(),
            text(row.execution.tokens_used),
            text(row.execution.duration_ms),
            text(row.execution.cost_cents),
            moment(executed_at),
            completed_at.as_ref().map(moment).unwrap_or_default(),
        ];
        self.data.push('\n');
        for (i, cell) in cells.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            // A `String` takes everything.
            let _ = write!(self.data, "{comma}\"{}\"", harmless(cell).replace('"', "\"\""));
        }
    }
}

/// A spreadsheet takes a cell that begins like this for a formula.
fn harmless(cell: &str) -> String {
    let guard = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("{guard}{cell}")
}

fn too_large() -> Error {
    let message = format!(
        "The file would be larger than {} MiB; ask for less with startDate, endDate, skillId, status or executionType",
        MAX_BYTES >> 20
    );
    let violation = Violation { field: "startDate".into(), message, code: "range" };
    Error::Invalid { code: Code::ExportTooLarge, violations: vec![violation] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_that_a_spreadsheet_would_calculate_are_guarded() {
        for cell in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(harmless(cell), format!("'{cell}"));
        }
        for cell in ["", "a=1", "'=1", " =1", "0", "é"] {
            assert_eq!(harmless(cell), cell);
        }
    }

    #[test]
    fn a_file_without_rows_is_a_valid_file() {
        let day = NaiveDate::from_ymd_opt(2028, 2, 29).expect("a leap day");
        let json = ExportFile::new(ExportFormat::Json).finish(day, false);
        assert_eq!((&*json.data, &*json.filename), ("[]", "executions-2028-02-29.json"));
        let csv = ExportFile::new(ExportFormat::Csv).finish(day, false);
        assert_eq!((&*csv.data, &*csv.filename), (HEADERS, "executions-2028-02-29.csv"));
    }
}
