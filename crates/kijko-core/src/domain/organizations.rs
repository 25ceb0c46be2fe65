//! Organisations and the roles in them.

use serde::{Deserialize, Serialize};

use crate::domain::ids::OrganizationId;
use crate::domain::plans::Plan;

/// What a member may do. The order is the rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Viewer,
    Member,
    Admin,
    Owner,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Member => "member",
            Role::Admin => "admin",
            Role::Owner => "owner",
        }
    }

    /// Whether somebody of this role may change the place of somebody else of the other: an owner everybody's, an admin
    /// that of members and viewers.
    pub fn manages(self, other: Role) -> bool {
        match self {
            Role::Owner => true,
            Role::Admin => other < Role::Admin,
            Role::Member | Role::Viewer => false,
        }
    }

    /// Whether somebody of this role may give the other to somebody else: nobody a role above their own, and nobody
    /// ownership, which is handed over instead.
    pub fn grants(self, role: Role) -> bool {
        self >= Role::Admin && role <= self && role != Role::Owner
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Role::Viewer, Role::Member, Role::Admin, Role::Owner].into_iter().find(|role| role.as_str() == text)
    }
}

/// An organisation as its members see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    pub id: OrganizationId,
    pub name: String,
    pub plan: Plan,
}

/// One of the organisations that somebody belongs to.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrganizationMembership {
    pub org_id: OrganizationId,
    pub name: String,
    pub role: Role,
    pub plan: Plan,
    /// Whether the credential of this request works in it.
    pub is_current: bool,
}

/// Which organisation to work in from now on.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SwitchRequest {
    pub org_id: OrganizationId,
}

#[cfg(test)]
mod tests {
    use super::Role::{Admin, Member, Owner, Viewer};
    use super::*;

    const ROLES: [Role; 4] = [Viewer, Member, Admin, Owner];

    #[test]
    fn an_owner_manages_everybody_and_an_admin_who_is_below() {
        let table = [
            (Viewer, [false, false, false, false]),
            (Member, [false, false, false, false]),
            (Admin, [true, true, false, false]),
            (Owner, [true, true, true, true]),
        ];
        for (role, expected) in table {
            assert_eq!(ROLES.map(|other| role.manages(other)), expected, "{role:?} manages {ROLES:?}");
        }
    }

    #[test]
    fn nobody_grants_more_than_they_have_and_nobody_grants_ownership() {
        let table = [
            (Viewer, [false, false, false, false]),
            (Member, [false, false, false, false]),
            (Admin, [true, true, true, false]),
            (Owner, [true, true, true, false]),
        ];
        for (role, expected) in table {
            assert_eq!(ROLES.map(|other| role.grants(other)), expected, "{role:?} grants {ROLES:?}");
        }
    }
}
