//! The plans that an organisation can be on, and what each of them includes.

use crate::domain::vocabulary::vocabulary;

vocabulary! {
    /// What an organisation pays for.
    Plan {
        Free = "free",
        Pro = "pro",
        Teams = "teams",
        Enterprise = "enterprise",
    }
}

impl Plan {
    /// Stands for "as many as you like": the front end subtracts, so it needs a number, and a positive one.
    pub const UNLIMITED_SEATS: i64 = 9999;

    /// How many people may belong to an organisation: members, inactive ones too, and pending invitations.
    pub fn seats(self) -> i64 {
        match self {
            Plan::Free => 1,
            Plan::Pro => 3,
            Plan::Teams => 10,
            Plan::Enterprise => Self::UNLIMITED_SEATS,
        }
    }

    /// Whether there is anybody to share the organisation with.
    pub fn has_team(self) -> bool {
        self.seats() > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_has_its_seats_and_only_the_free_one_has_no_team() {
        let seats: Vec<_> = Plan::ALL.iter().map(|plan| (plan.as_str(), plan.seats(), plan.has_team())).collect();
        let expected =
            [("free", 1, false), ("pro", 3, true), ("teams", 10, true), ("enterprise", Plan::UNLIMITED_SEATS, true)];
        assert_eq!(seats, expected);
    }
}
