//! Sliding windows, exactly: a log of the moments of all requests that were let in, per subject.
//!
//! Written here and not taken from `governor`, the library for limits in one process: its algorithm, GCRA, spaces
//! requests out instead of counting them. With 5 in 60 s it lets in a burst of 5 and one more every 12 s after that,
//! so 9 within the minute, and can tell neither how many are left nor when the oldest leaves. What is left to write
//! is small: drop what is older than the window, count, add.
//!
//! `local` counts in this process; `redis` counts for all processes, and falls back on `local`.

mod local;
mod redis;

pub(crate) use local::LocalLimits;
pub(crate) use redis::{RedisLimits, is_redis_url};
