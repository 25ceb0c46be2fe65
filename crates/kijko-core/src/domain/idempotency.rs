//! Asking for the same thing twice without getting it twice.

use chrono::TimeDelta;

use crate::error::{Error, Result};

/// For how long a repeated request gets the first one's reply.
pub const KEPT: TimeDelta = TimeDelta::hours(24);

/// The name that a client gave to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// 1 to 255 visible ASCII characters. Refuses with `VALIDATION_ERROR`.
    pub fn parse(text: &str) -> Result<Self> {
        let visible = text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if (1..=255).contains(&text.len()) && visible {
            return Ok(Self(text.to_owned()));
        }
        let rule = "Idempotency-Key must have 1 to 255 visible ASCII characters";
        Err(Error::invalid("Idempotency-Key", "format", rule))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is kept of a request that was carried out: whether another is the same, and the reply, encrypted.
#[derive(Clone, Debug)]
pub struct KeptReply {
    pub fingerprint: [u8; 32],
    pub sealed: Vec<u8>,
}
