//! Windows in this process: one log per subject, long enough for its longest window. The least recently used are
//! forgotten when there are too many.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::domain::limits::{Answer, Counter, Found, MOST_WINDOWS, Question, Subject, Window};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ports::rate_limits::RateLimits;

/// An idle one takes some 200 bytes, a busy one eight more per request in its longest window.
const SUBJECTS: u64 = 100_000;
/// The longest window; who was silent for so long has an empty log.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

pub(crate) struct LocalLimits {
    logs: Cache<(Counter, Subject), Arc<Mutex<Log>>>,
}

impl LocalLimits {
    pub(crate) fn new() -> Self {
        let logs = Cache::builder()
            .max_capacity(SUBJECTS)
            // The default policy may turn a newcomer away, who would then never be counted.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(FORGOTTEN_AFTER)
            .build();
        Self { logs }
    }

    pub(crate) fn count_now(&self, question: &Question, now: Timestamp) -> Answer {
        let log = self.logs.get_with((question.counter, question.subject), Arc::default);
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.count(question.windows, now.timestamp_millis())
    }
}

#[async_trait]
impl RateLimits for LocalLimits {
    async fn count(&self, question: &Question, now: Timestamp) -> Answer {
        self.count_now(question, now)
    }

    async fn probe(&self) -> Option<Result<()>> {
        None
    }
}

/// The moments, in milliseconds, of what was let in; the oldest first.
#[derive(Default)]
struct Log(VecDeque<i64>);

impl Log {
    fn count(&mut self, windows: &[Window], now: i64) -> Answer {
        let longest = windows.iter().map(|window| millis(*window)).max().unwrap_or_default();
        let gone = self.0.partition_point(|at| at + longest <= now);
        self.0.drain(..gone);
        // What a busy hour left is given back.
        if self.0.capacity() > 64 && self.0.capacity() / 8 > self.0.len() {
            self.0.shrink_to(self.0.len() * 2);
        }
        let admitted = windows.iter().all(|window| self.used(*window, now) < window.limit as usize);
        if admitted {
            // A clock that was set back must not put the log out of order.
            let at = self.0.back().map_or(now, |last| now.max(*last));
            self.0.push_back(at);
        }
        let mut found = [Found::default(); MOST_WINDOWS];
        for (found, window) in found.iter_mut().zip(windows) {
            let used = self.used(*window, now);
            let oldest = self.0.len().checked_sub(used).and_then(|first| self.0.get(first));
            let frees_in = oldest.map_or(0, |oldest| oldest + millis(*window) - now);
            *found = Found {
                used: u32::try_from(used).unwrap_or(u32::MAX),
                frees_in_ms: u64::try_from(frees_in).unwrap_or_default(),
            };
        }
        Answer { admitted, found }
    }

    fn used(&self, window: Window, now: i64) -> usize {
        self.0.len() - self.0.partition_point(|at| at + millis(window) <= now)
    }
}

fn millis(window: Window) -> i64 {
    i64::from(window.seconds) * 1000
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    fn question(counter: Counter, host: u32) -> Question {
        let address = IpAddr::V4(host.into());
        Question { counter, subject: Subject::address(address), windows: counter.windows() }
    }

    fn start() -> Timestamp {
        Timestamp::from_timestamp_millis(1_800_000_000_000).expect("a moment")
    }

    #[test]
    fn room_is_made_when_the_oldest_leaves_and_not_before() {
        let limits = LocalLimits::new();
        let login = question(Counter::Login, 1);
        let at = |ms| start() + TimeDelta::milliseconds(ms);
        for second in 0..5 {
            assert!(limits.count_now(&login, at(second * 1000)).admitted);
        }
        let refused = limits.count_now(&login, at(5000));
        assert_eq!((refused.admitted, refused.found[0]), (false, Found { used: 5, frees_in_ms: 55_000 }));
        assert!(!limits.count_now(&login, at(59_999)).admitted);
        assert!(limits.count_now(&login, at(60_000)).admitted, "the first has left; what was refused was never in");
        assert!(!limits.count_now(&login, at(60_001)).admitted, "the second has not");
        assert!(limits.count_now(&question(Counter::Login, 2), at(5000)).admitted, "another address is not concerned");
        assert!(limits.count_now(&question(Counter::Signup, 1), at(5000)).admitted, "nor is another line of the table");
    }

    #[test]
    fn what_one_window_refuses_no_window_counts() {
        let limits = LocalLimits::new();
        let anybody = question(Counter::Anonymous, 1);
        for _ in 0..60 {
            assert!(limits.count_now(&anybody, start()).admitted);
        }
        for _ in 0..1000 {
            assert!(!limits.count_now(&anybody, start()).admitted);
        }
        let answer = limits.count_now(&anybody, start() + TimeDelta::seconds(60));
        assert_eq!((answer.admitted, answer.found[0].used, answer.found[1].used), (true, 1, 61));
    }

    #[test]
    fn two_hundred_threads_at_once_get_exactly_what_there_is() {
        let limits = LocalLimits::new();
        let admitted = std::thread::scope(|scope| {
            let ask = || limits.count_now(&question(Counter::Anonymous, 1), start()).admitted;
            let threads: Vec<_> = (0..200).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().filter(|_| true).map(|t| t.join().expect("it does not panic")).filter(|a| *a).count()
        });
        assert_eq!(admitted, 60);
    }

    #[test]
    fn a_newcomer_is_counted_also_when_the_table_is_full() {
        let limits = LocalLimits::new();
        for host in 0..u32::try_from(SUBJECTS).expect("it fits") + 5000 {
            limits.count_now(&question(Counter::Login, host), start());
        }
        limits.logs.run_pending_tasks();
        assert!(limits.logs.entry_count() <= SUBJECTS, "the memory is bounded");
        let newcomer = question(Counter::Login, u32::MAX);
        let admitted = (0..50).filter(|_| limits.count_now(&newcomer, start()).admitted).count();
        assert_eq!(admitted, 5);
    }

    proptest! {
        /// The law of a sliding window: wherever it is laid, it never holds more than the limit; and nobody is refused
        /// while it has room.
        #[test]
        fn no_window_ever_holds_more_than_its_limit(steps in prop::collection::vec(0_i64..4000, 1..400)) {
            let (mut log, mut now, mut admitted) = (Log::default(), 0, Vec::<i64>::new());
            let windows = [Window { limit: 7, seconds: 5 }, Window { limit: 20, seconds: 60 }];
            for step in steps {
                now += step;
                let inside = |window: &Window| admitted.iter().filter(|at| **at + millis(*window) > now).count();
                let room = windows.iter().all(|window| inside(window) < window.limit as usize);
                prop_assert_eq!(log.count(&windows, now).admitted, room);
                if room {
                    admitted.push(now);
                }
            }
        }
    }

    /// Not a test of behaviour: `cargo test --release -p kijko-core -- --ignored what_counting_costs --nocapture`.
    #[test]
    #[ignore = "a measurement, for people"]
    #[expect(clippy::print_stdout, reason = "the figures are for people")]
    fn what_counting_costs() {
        const ROUNDS: u32 = 1_000_000;
        for (what, subjects) in [("one subject", 1), ("1,000 subjects", 1000), ("90,000 subjects", 90_000)] {
            let limits = LocalLimits::new();
            let started = std::time::Instant::now();
            for round in 0..ROUNDS {
                let now = start() + TimeDelta::milliseconds(i64::from(round) / 20);
                std::hint::black_box(limits.count_now(&question(Counter::Anonymous, round % subjects), now));
            }
            println!("{what}: {:?} per request", started.elapsed() / ROUNDS);
        }
    }
}
