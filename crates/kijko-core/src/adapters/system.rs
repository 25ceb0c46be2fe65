//! The real clock and the system's random numbers.

use rand::Rng;
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;

use crate::domain::time::{Timestamp, storable};
use crate::ports::clock::{Clock, Random};

pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now(&self) -> Timestamp {
        storable(chrono::Utc::now())
    }
}

pub(crate) struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        // From the system each time: a generator of our own would go on the same way in both halves of a fork.
        UnwrapErr(SysRng).fill_bytes(bytes);
    }
}
