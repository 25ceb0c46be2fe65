//! How often somebody may ask: the table of limits, and which line of it a request falls under.

use std::net::IpAddr;

use uuid::Uuid;

use crate::domain::plans::Plan;
use crate::domain::time::Timestamp;

/// At most so many in any stretch of so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub limit: u32,
    pub seconds: u32,
}

const fn at_most(limit: u32, seconds: u32) -> Window {
    Window { limit, seconds }
}

/// No line of the table has more windows than this.
pub const MOST_WINDOWS: usize = 2;

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident $name:literal $windows:expr,)*) => {
        /// A line of the table: what is counted together.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Counter { $($(#[$doc])* $variant,)* }

        impl Counter {
            pub const ALL: &[Counter] = &[$(Counter::$variant,)*];

            /// Its name in a store that several processes share.
            pub fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name,)* }
            }

            /// What it allows; for a signed-in caller, on the smallest plan.
            pub fn windows(self) -> &'static [Window] {
                match self { $(Counter::$variant => const { $windows },)* }
            }
        }
    };
}

counters! {
    Login "login.address" &[at_most(5, 60)],
    LoginOfAccount "login.account" &[at_most(5, 60)],
    Signup "signup.address" &[at_most(10, 60)],
    /// Generous, because an office shares one address and the front end signs out on any refusal.
    Refresh "refresh.address" &[at_most(300, 60)],
    RefreshOfFamily "refresh.family" &[at_most(10, 60)],
    OauthStart "oauth-start.address" &[at_most(20, 60)],
    OauthCallback "oauth-callback.address" &[at_most(5, 60)],
    /// Passwords, magic links and proofs of an e-mail address, asked for or redeemed.
    Link "link.address" &[at_most(5, 60)],
    LinkOfAccount "link.account" &[at_most(5, 3600)],
    /// Calls with a token of ours that has expired. Each leads the front end to a refresh, so an office may have as
    /// many of these as of those.
    Expired "expired.address" &[at_most(300, 60)],
    /// Any other request of somebody who did not say who they are, or not truly.
    Anonymous "anonymous.address" &[at_most(60, 60), at_most(1000, 3600)],
    /// Any request of somebody who is signed in, whatever the session.
    User "user" plan_windows(Plan::Free),
    /// Any request with an API key, each key for itself.
    ApiKey "api-key" plan_windows(Plan::Free),
}

/// What somebody who is signed in may ask, by the plan of their organisation.
pub const fn plan_windows(plan: Plan) -> &'static [Window] {
    match plan {
        Plan::Free => const { &[at_most(60, 60), at_most(1000, 3600)] },
        Plan::Pro => const { &[at_most(300, 60), at_most(10_000, 3600)] },
        Plan::Teams => const { &[at_most(600, 60), at_most(30_000, 3600)] },
        Plan::Enterprise => const { &[at_most(1200, 60), at_most(60_000, 3600)] },
    }
}

/// Under which line a request falls that says nothing of its caller but the address. None for what is never limited:
/// probes, and `/auth/me`, with which the front end decides at each page load whether it is signed in.
pub fn counter_of(method: &str, path: &str) -> Option<Counter> {
    // Every GET answers HEAD too.
    let method = if method == "HEAD" { "GET" } else { method };
    if method == "GET" && (path.starts_with("/health") || path == "/info" || path == "/api/v1/auth/me") {
        return None;
    }
    let Some(path) = path.strip_prefix("/api/v1/auth/") else { return Some(Counter::Anonymous) };
    Some(match (method, path) {
        ("POST", "login") => Counter::Login,
        ("POST", "signup") => Counter::Signup,
        ("POST", "refresh") => Counter::Refresh,
        ("GET", _) if path.starts_with("oauth/") => Counter::OauthStart,
        ("POST", _) if path.starts_with("oauth/") => Counter::OauthCallback,
        ("POST", "magic-link" | "email/verify") => Counter::Link,
        ("POST", _) if path.starts_with("password/") || path.starts_with("magic-link/") => Counter::Link,
        _ => Counter::Anonymous,
    })
}

/// Who is counted: an address, a user, a session or the keyed hash of something, in sixteen bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject([u8; 16]);

impl Subject {
    /// An IPv6 address counts as its /64, which is what one subscriber gets; else they would have 2^64 tries.
    pub fn address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_ipv6_mapped().octets()),
            IpAddr::V6(address) => Self((u128::from(address) >> 64 << 64).to_be_bytes()),
        }
    }

    pub fn id(id: Uuid) -> Self {
        Self(id.into_bytes())
    }

    pub fn hash(hash: &[u8; 32]) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&hash[..16]);
        Self(half)
    }

    pub fn as_u128(self) -> u128 {
        u128::from_be_bytes(self.0)
    }
}

/// May this one ask once more?
#[derive(Clone, Copy, Debug)]
pub struct Question {
    pub counter: Counter,
    pub subject: Subject,
    /// At most `MOST_WINDOWS`.
    pub windows: &'static [Window],
}

/// What was found in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Requests in it, with the present one if that was let in.
    pub used: u32,
    /// Until the oldest of them leaves.
    pub frees_in_ms: u64,
}

/// What a store answers. It counted the request in every window, or, when any was full, in none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub admitted: bool,
    /// In the order of the windows asked for.
    pub found: [Found; MOST_WINDOWS],
}

/// Where somebody stands with the window that leaves them the least, or that refused them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub limit: u32,
    pub window_seconds: u32,
    pub remaining: u32,
    /// Whole seconds until the oldest request leaves the window, and room is made.
    pub frees_in_seconds: u32,
    /// The same as a moment, in Unix seconds.
    pub frees_at: i64,
}

/// What the answer means for whoever asked: where they stand, or, as the error, by which window they are refused.
pub fn judge(windows: &[Window], answer: &Answer, now: Timestamp) -> Result<Standing, Standing> {
    let standing = |(window, found): (&Window, &Found)| {
        let seconds = u32::try_from(found.frees_in_ms.div_ceil(1000)).unwrap_or(window.seconds).max(1);
        Standing {
            limit: window.limit,
            window_seconds: window.seconds,
            remaining: window.limit.saturating_sub(found.used),
            frees_in_seconds: seconds,
            frees_at: now.timestamp() + i64::from(seconds),
        }
    };
    let standings = windows.iter().zip(&answer.found).map(standing);
    let none =
        Standing { limit: 0, window_seconds: 0, remaining: 0, frees_in_seconds: 1, frees_at: now.timestamp() + 1 };
    if answer.admitted {
        Ok(standings.min_by_key(|standing| standing.remaining).unwrap_or(none))
    } else {
        // Both may be full; trying again helps only when both have room.
        let full = standings.filter(|standing| standing.remaining == 0);
        Err(full.max_by_key(|standing| standing.frees_in_seconds).unwrap_or(none))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_fall_under_the_line_that_names_them() {
        for (method, path, counter) in [
            ("POST", "/api/v1/auth/login", Some(Counter::Login)),
            ("GET", "/api/v1/auth/login", Some(Counter::Anonymous)),
            ("POST", "/api/v1/auth/signup", Some(Counter::Signup)),
            ("POST", "/api/v1/auth/refresh", Some(Counter::Refresh)),
            ("GET", "/api/v1/auth/oauth/google", Some(Counter::OauthStart)),
            ("HEAD", "/api/v1/auth/oauth/google", Some(Counter::OauthStart)),
            ("POST", "/api/v1/auth/oauth/callback", Some(Counter::OauthCallback)),
            ("POST", "/api/v1/auth/password/forgot", Some(Counter::Link)),
            ("POST", "/api/v1/auth/password/reset", Some(Counter::Link)),
            ("POST", "/api/v1/auth/magic-link", Some(Counter::Link)),
            ("POST", "/api/v1/auth/magic-link/verify", Some(Counter::Link)),
            ("POST", "/api/v1/auth/email/verify", Some(Counter::Link)),
            ("POST", "/api/v1/auth/logout", Some(Counter::Anonymous)),
            ("GET", "/api/v1/skills", Some(Counter::Anonymous)),
            ("GET", "/", Some(Counter::Anonymous)),
            ("GET", "/.well-known/jwks.json", Some(Counter::Anonymous)),
            ("POST", "/api/v1/auth/me", Some(Counter::Anonymous)),
            ("GET", "/api/v1/auth/me", None),
            ("HEAD", "/health", None),
            ("GET", "/health/ready", None),
            ("GET", "/healthz/redis", None),
            ("GET", "/info", None),
        ] {
            assert_eq!(counter_of(method, path), counter, "{method} {path}");
        }
    }

    #[test]
    fn a_subscriber_counts_as_one_however_their_address_is_written() {
        let subject = |text: &str| Subject::address(text.parse().expect("an address"));
        assert_eq!(subject("203.0.113.9"), subject("::ffff:203.0.113.9"));
        assert_ne!(subject("203.0.113.9"), subject("203.0.113.10"));
        assert_eq!(subject("2001:db8:1:2::1"), subject("2001:db8:1:2:ffff::9"), "one /64 is one subscriber");
        assert_ne!(subject("2001:db8:1:2::1"), subject("2001:db8:1:3::1"));
    }

    #[test]
    fn every_counter_has_a_name_of_its_own_and_windows_that_a_store_can_hold() {
        let names: std::collections::BTreeSet<_> = Counter::ALL.iter().map(|counter| counter.name()).collect();
        assert_eq!(names.len(), Counter::ALL.len(), "two counters of one name would count together");
        let plans = Plan::ALL.iter().map(|plan| plan_windows(*plan));
        for windows in Counter::ALL.iter().map(|counter| counter.windows()).chain(plans) {
            assert!((1..=MOST_WINDOWS).contains(&windows.len()), "{windows:?}");
            assert!(windows.iter().all(|window| window.limit > 0 && window.seconds > 0), "{windows:?}");
        }
    }

    #[test]
    fn the_window_with_the_least_room_speaks_and_the_longest_wait_refuses() {
        let windows = Counter::Anonymous.windows();
        let now = Timestamp::from_timestamp(1_800_000_000, 0).expect("a moment");
        let check = |admitted, minute: (u32, u64), hour: (u32, u64)| {
            let found = [minute, hour].map(|(used, frees_in_ms)| Found { used, frees_in_ms });
            let answer = Answer { admitted, found };
            let standing = match judge(windows, &answer, now) {
                Ok(standing) if admitted => standing,
                Err(standing) if !admitted => standing,
                other => panic!("an admitted request is never refused, nor the other way round: {other:?}"),
            };
            assert_eq!(standing.frees_at - now.timestamp(), i64::from(standing.frees_in_seconds));
            (standing.limit, standing.window_seconds, standing.remaining, standing.frees_in_seconds)
        };
        assert_eq!(check(true, (10, 30_001), (980, 100_000)), (1000, 3600, 20, 100));
        assert_eq!(check(true, (10, 30_001), (10, 100_000)), (60, 60, 50, 31));
        let after = check(false, (60, 30_001), (1000, 2_000_000));
        assert_eq!(after, (1000, 3600, 0, 2000), "after 31 seconds the hour would still refuse");
        assert_eq!(check(false, (60, 30_001), (400, 2_000_000)), (60, 60, 0, 31));
    }
}
