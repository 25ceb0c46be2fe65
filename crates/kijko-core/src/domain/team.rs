//! An organisation as its members see it: who belongs to it, and who may change that.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::domain::check::Check;
use crate::domain::ids::{MemberId, OrganizationId, UserId};
use crate::domain::organizations::Role;
use crate::domain::time::{Timestamp, millis, millis_option};
use crate::domain::vocabulary::vocabulary;
use crate::error::{Code, Error, Result};

/// An organisation that several people can share.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Team {
    pub id: OrganizationId,
    pub name: String,
    pub owner_id: UserId,
    /// What the plan includes; 9999 where it sets no limit.
    pub max_seats: i64,
    #[serde(serialize_with = "millis")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    #[serde(serialize_with = "millis")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub updated_at: Timestamp,
}

impl Team {
    /// Whether the plan lets anybody join.
    pub fn is_shared(&self) -> bool {
        self.max_seats > 1
    }
}

/// How many people a team has, and how many it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TeamStats {
    /// Inactive ones too: they keep their seat.
    pub total_members: i64,
    pub active_members: i64,
    pub pending_invites: i64,
    pub available_seats: i64,
    pub max_seats: i64,
}

impl TeamStats {
    pub fn new(max_seats: i64, total_members: i64, active_members: i64, pending_invites: i64) -> Self {
        // A smaller plan may leave more people than seats.
        let available_seats = (max_seats - total_members - pending_invites).max(0);
        Self { total_members, active_members, pending_invites, available_seats, max_seats }
    }
}

vocabulary! {
    /// How somebody stands in an organisation. Who is inactive keeps their seat and may not enter.
    MemberStatus {
        Active = "active",
        Pending = "pending",
        Inactive = "inactive",
    }
}

/// Somebody's place in a team.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TeamMember {
    pub id: MemberId,
    pub team_id: OrganizationId,
    pub user_id: UserId,
    pub email: String,
    pub name: String,
    pub role: Role,
    pub status: MemberStatus,
    #[serde(serialize_with = "millis")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub joined_at: Timestamp,
    #[serde(serialize_with = "millis_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub last_active_at: Option<Timestamp>,
}

/// A change of a member's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChange {
    Role(Role),
    Deactivate,
    Reactivate,
    Remove,
}

impl MemberChange {
    /// Refuses unless `actor` may do this to `target` now: with `FORBIDDEN`; with `LAST_OWNER` where the organisation
    /// would be left to nobody; with `OWNERSHIP_TRANSFER_REQUIRED` to an owner who wants another one.
    pub fn require(self, actor: &TeamMember, target: &TeamMember, active_owners: i64) -> Result<()> {
        let forbidden = Error::Forbidden { code: Code::Forbidden };
        // Since they were identified they may have been demoted, or worse.
        if actor.status != MemberStatus::Active || !actor.role.manages(Role::Viewer) {
            return Err(forbidden);
        }
        if self.ends_ownership_of(target) && active_owners <= 1 && actor.role == Role::Owner {
            return Err(Error::conflict(Code::LastOwner));
        }
        // Nobody manages themselves.
        if actor.user_id == target.user_id || !actor.role.manages(target.role) {
            return Err(forbidden);
        }
        match self {
            MemberChange::Role(role) if role == target.role => Ok(()),
            MemberChange::Role(Role::Owner) if actor.role == Role::Owner => {
                Err(Error::conflict(Code::OwnershipTransferRequired))
            }
            MemberChange::Role(role) if !actor.role.grants(role) => Err(forbidden),
            MemberChange::Role(_) | MemberChange::Deactivate | MemberChange::Reactivate | MemberChange::Remove => {
                Ok(())
            }
        }
    }

    fn ends_ownership_of(self, target: &TeamMember) -> bool {
        let leaves = match self {
            MemberChange::Role(role) => role != Role::Owner,
            MemberChange::Deactivate | MemberChange::Remove => true,
            MemberChange::Reactivate => false,
        };
        leaves && target.role == Role::Owner && target.status == MemberStatus::Active
    }
}

/// A change of the team itself.
#[derive(Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TeamPatch {
    /// 1 to 100 characters.
    pub name: String,
}

impl TeamPatch {
    pub fn checked(self) -> Result<Self> {
        let name = self.name.trim().to_owned();
        let mut check = Check::default();
        check.text("name", &name, 1, 100);
        check.that(!name.chars().any(char::is_control), "name", "format", || {
            "name must not contain control characters".into()
        });
        check.done()?;
        Ok(Self { name })
    }
}

/// The role that a member is to have.
#[derive(Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MemberPatch {
    pub role: Role,
}

/// Who is to own the organisation, and proof that its owner is asking.
#[derive(Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct OwnershipTransfer {
    #[serde(alias = "member_id")]
    pub member_id: MemberId,
    /// The owner's own. Where the identity provider alone sees passwords, a sign-in that is not older than five minutes
    /// counts in its place.
    #[cfg_attr(feature = "openapi", schema(value_type = String, min_length = 1, max_length = 128))]
    pub password: SecretString,
}

impl OwnershipTransfer {
    pub fn checked(self) -> Result<Self> {
        let length = secrecy::ExposeSecret::expose_secret(&self.password).chars().count();
        let mut check = Check::default();
        check.range("password", length, 1, 128);
        check.done()?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::organizations::Role::{Admin, Member, Owner, Viewer};

    const ROLES: [Role; 4] = [Owner, Admin, Member, Viewer];

    fn member(number: u128, role: Role, status: MemberStatus) -> TeamMember {
        TeamMember {
            id: MemberId(uuid::Uuid::from_u128(number)),
            team_id: OrganizationId(uuid::Uuid::nil()),
            user_id: UserId(uuid::Uuid::from_u128(number)),
            email: "ada@example.com".into(),
            name: "Ada".into(),
            role,
            status,
            joined_at: Timestamp::UNIX_EPOCH,
            last_active_at: None,
        }
    }

    fn decide(actor: Role, target: Role, change: MemberChange) -> &'static str {
        let (actor, target) = (member(1, actor, MemberStatus::Active), member(2, target, MemberStatus::Active));
        let owners = [&actor, &target].iter().filter(|member| member.role == Owner).count();
        outcome(change.require(&actor, &target, owners as i64))
    }

    fn outcome(result: Result<()>) -> &'static str {
        result.map_or_else(|error| error.code().as_str(), |()| "ok")
    }

    #[test]
    fn who_may_do_what_to_whom() {
        // Rows: who acts. Columns: on an owner, admin, member, viewer.
        let ends = [
            (Owner, ["ok", "ok", "ok", "ok"]),
            (Admin, ["FORBIDDEN", "FORBIDDEN", "ok", "ok"]),
            (Member, ["FORBIDDEN"; 4]),
            (Viewer, ["FORBIDDEN"; 4]),
        ];
        for change in [MemberChange::Deactivate, MemberChange::Reactivate, MemberChange::Remove] {
            for (actor, expected) in ends {
                assert_eq!(ROLES.map(|target| decide(actor, target, change)), expected, "{actor:?}: {change:?}");
            }
        }
        for role in [Admin, Member, Viewer] {
            for (actor, expected) in ends {
                let change = MemberChange::Role(role);
                assert_eq!(ROLES.map(|target| decide(actor, target, change)), expected, "{actor:?}: {change:?}");
            }
        }
    }

    #[test]
    fn ownership_is_handed_over_and_never_granted() {
        let table = [
            (
                Owner,
                ["ok", "OWNERSHIP_TRANSFER_REQUIRED", "OWNERSHIP_TRANSFER_REQUIRED", "OWNERSHIP_TRANSFER_REQUIRED"],
            ),
            (Admin, ["FORBIDDEN"; 4]),
            (Member, ["FORBIDDEN"; 4]),
            (Viewer, ["FORBIDDEN"; 4]),
        ];
        for (actor, expected) in table {
            assert_eq!(ROLES.map(|target| decide(actor, target, MemberChange::Role(Owner))), expected, "{actor:?}");
        }
    }

    #[test]
    fn nobody_manages_themselves_and_the_last_owner_stays() {
        let on_oneself = |role, owners, change: MemberChange| {
            let one = member(1, role, MemberStatus::Active);
            outcome(change.require(&one, &one, owners))
        };
        for change in [MemberChange::Role(Viewer), MemberChange::Deactivate, MemberChange::Remove] {
            assert_eq!(on_oneself(Owner, 1, change), "LAST_OWNER", "{change:?}");
            assert_eq!(on_oneself(Owner, 2, change), "FORBIDDEN", "{change:?}");
            assert_eq!(on_oneself(Admin, 1, change), "FORBIDDEN", "{change:?}");
        }
        assert_eq!(on_oneself(Owner, 1, MemberChange::Reactivate), "FORBIDDEN");
        assert_eq!(on_oneself(Admin, 1, MemberChange::Role(Admin)), "FORBIDDEN");
    }

    #[test]
    fn who_is_not_active_any_more_does_nothing() {
        for status in [MemberStatus::Inactive, MemberStatus::Pending] {
            let (actor, target) = (member(1, Owner, status), member(2, Viewer, MemberStatus::Active));
            assert_eq!(outcome(MemberChange::Remove.require(&actor, &target, 1)), "FORBIDDEN", "{status:?}");
        }
    }

    #[test]
    fn seats_are_never_fewer_than_none() {
        assert_eq!(TeamStats::new(10, 4, 3, 2).available_seats, 4);
        assert_eq!(TeamStats::new(3, 3, 3, 2).available_seats, 0);
    }
}
