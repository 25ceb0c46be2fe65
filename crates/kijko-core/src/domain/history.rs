//! Which part of the history is wanted, and for how long it is kept.

use chrono::{DateTime, NaiveTime, TimeDelta};
use serde::Serialize;
use uuid::Uuid;

use crate::domain::check::Check;
use crate::domain::executions::{Execution, ExecutionWithSkill};
use crate::domain::ids::ExecutionId;
use crate::domain::page::Page;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};

/// Where an execution stands in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub executed_at: Timestamp,
    pub id: ExecutionId,
}

impl Place {
    pub const BYTES: usize = 24;

    pub fn of(execution: &Execution) -> Self {
        Self { executed_at: execution.executed_at, id: execution.id }
    }

    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.executed_at.timestamp_micros().to_be_bytes());
        bytes[8..].copy_from_slice(self.id.0.as_bytes());
        bytes
    }

    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let micros = i64::from_be_bytes(bytes[..8].try_into().ok()?);
        let id = Uuid::from_slice(&bytes[8..]).ok()?;
        Some(Self { executed_at: DateTime::from_timestamp_micros(micros)?, id: ExecutionId(id) })
    }
}

/// Where a part of the history begins. Beside a place, what comes and goes elsewhere moves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// So many from the newest.
    Offset(u64),
    /// Next to this place, older.
    After(Place),
    /// Next to this place, newer.
    Before(Place),
}

/// What a client says about the part that it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Page(Page),
    /// Next to a cursor, in this direction, at most so many.
    Beside {
        side: Side,
        cursor: String,
        limit: u32,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    After,
    Before,
}

impl Side {
    pub fn as_str(self) -> &'static str {
        match self {
            Side::After => "after",
            Side::Before => "before",
        }
    }
}

impl Wanted {
    /// Refuses with `VALIDATION_ERROR`.
    pub fn new(limit: Option<u32>, offset: Option<u64>, after: Option<String>, before: Option<String>) -> Result<Self> {
        let (side, cursor) = match (after, before) {
            (None, None) => return Page::from_offset(limit, offset).map(Self::Page),
            (Some(_), Some(_)) => {
                return Err(Error::invalid("before", "unknown", "after and before cannot be combined"));
            }
            (Some(cursor), None) => (Side::After, cursor),
            (None, Some(cursor)) => (Side::Before, cursor),
        };
        let limit = limit.unwrap_or(Page::DEFAULT);
        let mut check = Check::default();
        check.range("limit", limit, 1, Page::MAX);
        check.that(offset.is_none(), "offset", "unknown", || {
            format!("offset cannot be combined with {}", side.as_str())
        });
        check.done()?;
        Ok(Self::Beside { side, cursor, limit })
    }
}

/// A part of the history, with what leads on from it.
#[derive(Clone, Debug)]
pub struct HistoryPart {
    pub rows: Vec<ExecutionWithSkill>,
    pub total: u64,
    /// The number of the page, where pages are counted.
    pub page: Option<u64>,
    pub page_size: u32,
    /// Whether older ones follow.
    pub has_more: bool,
    pub next_cursor: Option<String>,
    pub prev_cursor: Option<String>,
}

/// What a cleanup removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    pub count: u64,
    /// Of what was removed, as JSON.
    pub bytes: u64,
}

impl std::ops::AddAssign for Deleted {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.bytes += other.bytes;
    }
}

/// The same as its owner is told.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CleanedUp {
    pub deleted_count: u64,
    /// With two decimals.
    pub freed_space_mb: f64,
}

impl From<Deleted> for CleanedUp {
    fn from(deleted: Deleted) -> Self {
        const MB: u64 = 1 << 20;
        let hundredths = (deleted.bytes * 100 + MB / 2) / MB;
        // Written and read: the nearest number to these digits, without arithmetic on it.
        let freed = format!("{}.{:02}", hundredths / 100, hundredths % 100);
        Self { deleted_count: deleted.count, freed_space_mb: freed.parse().unwrap_or_default() }
    }
}

/// Before which moment executions are too old: retention works once a day at 03:00 UTC, and whenever it really comes to
/// it, it removes what was too old then.
pub fn retention_ends(now: Timestamp, kept: TimeDelta) -> Timestamp {
    let three = NaiveTime::from_hms_opt(3, 0, 0).unwrap_or(NaiveTime::MIN);
    let today = now.date_naive().and_time(three).and_utc();
    let last = if today <= now { today } else { today - TimeDelta::days(1) };
    last - kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Timestamp {
        DateTime::parse_from_rfc3339(text).expect("a moment").to_utc()
    }

    #[test]
    fn a_place_survives_being_written() {
        let place = Place { executed_at: moment("2028-02-29T23:59:59.123456Z"), id: ExecutionId(Uuid::from_u128(7)) };
        assert_eq!(Place::from_bytes(&place.to_bytes()), Some(place));
    }

    #[test]
    fn retention_looks_back_from_the_last_three_o_clock() {
        let ends = |now: &str| retention_ends(moment(now), TimeDelta::days(90)).to_rfc3339();
        assert_eq!(ends("2026-04-01T02:59:59Z"), "2025-12-31T03:00:00+00:00");
        assert_eq!(ends("2026-04-01T03:00:00Z"), "2026-01-01T03:00:00+00:00");
        assert_eq!(ends("2026-04-01T23:00:00Z"), "2026-01-01T03:00:00+00:00");
    }

    #[test]
    fn space_is_told_in_megabytes_with_two_decimals() {
        let freed = |bytes| CleanedUp::from(Deleted { count: 1, bytes }).freed_space_mb.to_string();
        assert_eq!(
            [freed(0), freed(1 << 20), freed(1_572_864), freed(5242), freed(5243)],
            ["0", "1", "1.5", "0", "0.01"]
        );
    }
}
