//! Attempts to sign in: what is remembered of each, and how wrong passwords lock an account for a while.

use chrono::TimeDelta;

use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::sessions::AuthMethod;
use crate::domain::time::Timestamp;
use crate::domain::vocabulary::vocabulary;

/// So many wrong passwords in a row lock an account, and each further one again.
const LOCKING: u32 = 5;
const FIRST_LOCK: TimeDelta = TimeDelta::seconds(60);
const LONGEST_LOCK: TimeDelta = TimeDelta::seconds(3600);
/// After so long without another one, wrong passwords are forgotten. Longer than any lock.
pub const FORGOTTEN_AFTER: TimeDelta = TimeDelta::days(1);

/// The keyed hash of an address, whether or not it has an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountHash(pub [u8; 32]);

/// Wrong passwords in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failures {
    pub count: u32,
    pub last_at: Timestamp,
}

impl Failures {
    /// How many whole seconds the account is still locked, if it is: a minute after the fifth wrong password, and twice
    /// as long after each further one, up to an hour.
    pub fn locked_for(self, now: Timestamp) -> Option<u32> {
        let doublings = self.count.checked_sub(LOCKING)?;
        let lock = LONGEST_LOCK.min(FIRST_LOCK * (1 << doublings.min(10)));
        let left = (self.last_at + lock - now).num_milliseconds();
        u32::try_from(left).ok().filter(|left| *left > 0).map(|left| left.div_ceil(1000))
    }
}

vocabulary! {
    /// How an attempt ended. `Blocked`: not because of what was sent.
    LoginStatus { Success = "success", Failed = "failed", Blocked = "blocked" }
}

vocabulary! {
    /// Why an attempt did not succeed, as its owner reads it.
    FailureReason {
        InvalidPassword = "Invalid password",
        UnknownAccount = "Unknown account",
        AccountLocked = "Account locked",
        AccountDisabled = "Account disabled",
        NoOrganization = "No organisation",
        EmailNotVerified = "E-mail address not confirmed",
    }
}

impl FailureReason {
    pub fn status(self) -> LoginStatus {
        match self {
            FailureReason::InvalidPassword | FailureReason::UnknownAccount => LoginStatus::Failed,
            FailureReason::AccountLocked
            | FailureReason::AccountDisabled
            | FailureReason::NoOrganization
            | FailureReason::EmailNotVerified => LoginStatus::Blocked,
        }
    }
}

/// What is remembered of an attempt.
#[derive(Clone, Copy, Debug)]
pub struct LoginAttempt {
    /// None when there is no such account.
    pub user_id: Option<UserId>,
    pub organization_id: Option<OrganizationId>,
    pub auth_method: AuthMethod,
    /// None when it succeeded.
    pub failure: Option<FailureReason>,
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_doubles_from_a_minute_to_an_hour() {
        let now = Timestamp::from_timestamp(1_800_000_000, 0).expect("a moment");
        let after = |count| Failures { count, last_at: now }.locked_for(now);
        let locks: Vec<_> = (0..14).map(after).collect();
        let seconds = [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600].map(Some);
        assert_eq!(locks, [&[None; 5][..], &seconds].concat());
        assert_eq!(after(u32::MAX), Some(3600));
    }

    #[test]
    fn a_lock_ends_with_its_last_second() {
        let start = Timestamp::from_timestamp(1_800_000_000, 0).expect("a moment");
        let failures = Failures { count: 5, last_at: start };
        let at = |ms| failures.locked_for(start + TimeDelta::milliseconds(ms));
        assert_eq!((at(1), at(59_999), at(60_000), at(90_000)), (Some(60), Some(1), None, None));
    }

    #[test]
    fn a_lock_is_never_forgotten_while_it_lasts() {
        assert!(LONGEST_LOCK < FORGOTTEN_AFTER);
    }
}
