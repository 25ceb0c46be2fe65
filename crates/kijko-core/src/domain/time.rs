//! Moments on the wire: ISO 8601, UTC, milliseconds, `Z`.

use chrono::{DateTime, SubsecRound, Utc};
use serde::Serializer;

pub type Timestamp = DateTime<Utc>;

/// PostgreSQL keeps microseconds; a moment that was not stored yet must compare equal to the one read back.
pub fn storable(moment: Timestamp) -> Timestamp {
    moment.trunc_subsecs(6)
}

/// For `#[serde(serialize_with)]`.
pub fn millis<S: Serializer>(moment: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&moment.format("%Y-%m-%dT%H:%M:%S%.3fZ"))
}

/// The same for a member that may be absent.
pub fn millis_option<S: Serializer>(moment: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match moment {
        Some(moment) => millis(moment, serializer),
        None => serializer.serialize_none(),
    }
}
