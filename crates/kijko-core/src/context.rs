//! Proof that somebody was identified as acting inside one organisation.
//!
//! There is no way to make one outside this crate, and `services::identity` alone makes one inside it
//! (`tests/it/layers.rs` watches that). So whoever forgets to identify a caller does not compile:
//!
//! ```compile_fail
//! let ctx = kijko_core::TenantContext::new(todo!(), todo!(), todo!(), todo!());
//! ```

use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::organizations::Role;
use crate::domain::sessions::Origin;
use crate::error::{Code, Error, Result};

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A person who signed in, or whose API key this is.
    User { role: Role, by_api_key: bool },
    /// Whoever runs this installation, with `kijko`, on behalf of that person; it is noted why.
    Operator { reason: String },
    /// A job, on behalf of the person whose row it carries.
    Job,
}

/// What an actor wants to do; see `TenantContext::require`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    ReadSkills,
    /// Create, change, delete and run skills.
    UseSkills,
    /// One's own API keys.
    ManageApiKeys,
    /// Those of everybody in the organisation, and keys that may do all that an administrator may.
    ManageAllApiKeys,
    /// The organisation's own keys for model providers.
    ManageProviderKeys,
    /// See who belongs to the organisation.
    ReadTeam,
    /// Change what the organisation is called.
    ManageTeam,
    /// Invite, see and withdraw invitations.
    InviteMembers,
    /// Remove, deactivate and reactivate; whom, `Role::manages` says.
    RemoveMembers,
    /// Whose, `Role::manages` says, and to what, `Role::grants`.
    ChangeRoles,
    TransferOwnership,
    /// See and change how much the organisation may spend.
    ManageBudget,
}

/// The only key to a tenant transaction.
#[derive(Clone, Debug)]
pub struct TenantContext {
    organization_id: OrganizationId,
    user_id: UserId,
    actor: Actor,
    /// The request that this belongs to; none for a job and an operator.
    origin: Option<Origin>,
}

impl TenantContext {
    pub(crate) fn new(organization_id: OrganizationId, user_id: UserId, actor: Actor, origin: Option<Origin>) -> Self {
        Self { organization_id, user_id, actor, origin }
    }

    pub fn organization_id(&self) -> OrganizationId {
        self.organization_id
    }

    /// Whose rows are visible: the signed-in person, or the owner of what a job carries.
    pub fn user_id(&self) -> UserId {
        self.user_id
    }

    pub(crate) fn actor(&self) -> &Actor {
        &self.actor
    }

    pub(crate) fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Whether a program acts, with an API key of the person.
    pub(crate) fn uses_api_key(&self) -> bool {
        matches!(self.actor, Actor::User { by_api_key: true, .. })
    }

    /// Refuses with `FORBIDDEN` unless the actor may do this.
    pub fn require(&self, permission: Permission) -> Result<()> {
        let allowed = match (&self.actor, permission) {
            (Actor::Job | Actor::Operator { .. }, _) => true,
            (Actor::User { role, .. }, permission) => permission.is_given_to(*role),
        };
        if allowed { Ok(()) } else { Err(Error::Forbidden { code: Code::Forbidden }) }
    }
}

impl Permission {
    pub(crate) fn is_given_to(self, role: Role) -> bool {
        match self {
            Permission::ReadSkills | Permission::ReadTeam => true,
            // A viewer reads; running a skill spends the organisation's money.
            Permission::UseSkills | Permission::ManageApiKeys => role >= Role::Member,
            Permission::ManageAllApiKeys
            | Permission::ManageProviderKeys
            | Permission::ManageTeam
            | Permission::InviteMembers
            | Permission::RemoveMembers
            | Permission::ManageBudget
            | Permission::ChangeRoles => role >= Role::Admin,
            Permission::TransferOwnership => role == Role::Owner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_role_may_do() {
        // Viewer, member, admin, owner.
        let table = [
            (Permission::ReadSkills, [true, true, true, true]),
            (Permission::ReadTeam, [true, true, true, true]),
            (Permission::UseSkills, [false, true, true, true]),
            (Permission::ManageApiKeys, [false, true, true, true]),
            (Permission::ManageAllApiKeys, [false, false, true, true]),
            (Permission::ManageProviderKeys, [false, false, true, true]),
            (Permission::ManageTeam, [false, false, true, true]),
            (Permission::InviteMembers, [false, false, true, true]),
            (Permission::RemoveMembers, [false, false, true, true]),
            (Permission::ChangeRoles, [false, false, true, true]),
            (Permission::ManageBudget, [false, false, true, true]),
            (Permission::TransferOwnership, [false, false, false, true]),
        ];
        for (permission, expected) in table {
            let roles = [Role::Viewer, Role::Member, Role::Admin, Role::Owner];
            assert_eq!(roles.map(|role| permission.is_given_to(role)), expected, "{permission:?}");
        }
    }
}
