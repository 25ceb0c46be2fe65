//! Entries of the audit log: what happened, by whom, never with a secret in it.

use crate::domain::ids::UserId;

#[derive(Clone, Debug)]
pub struct AuditEntry {
    pub event: AuditEvent,
    pub user_id: Option<UserId>,
    pub description: String,
    pub metadata: serde_json::Value,
}

/// `<category>.<event>`, a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditEvent {
    TeamMemberDeactivated,
    TeamMemberInvited,
    TeamMemberJoined,
    TeamMemberReactivated,
    TeamMemberRemoved,
    TeamOwnershipTransferred,
    TeamRoleChanged,
    UserLogin,
    UserLogout,
    UserProfileUpdated,
    UserPasswordChanged,
    SecurityLoginFailed,
    SecuritySessionTerminated,
    SecurityApiKeyCreated,
    SecurityApiKeyRevoked,
    SecurityProviderKeyStored,
    SecurityProviderKeyDeleted,
    SystemAdminAction,
    SystemBudgetChanged,
    SystemBudgetReached,
}

impl AuditEvent {
    pub fn as_str(self) -> &'static str {
        match self {
            AuditEvent::TeamMemberDeactivated => "team.member_deactivated",
            AuditEvent::TeamMemberInvited => "team.member_invited",
            AuditEvent::TeamMemberJoined => "team.member_joined",
            AuditEvent::TeamMemberReactivated => "team.member_reactivated",
            AuditEvent::TeamMemberRemoved => "team.member_removed",
            AuditEvent::TeamOwnershipTransferred => "team.ownership_transferred",
            AuditEvent::TeamRoleChanged => "team.role_changed",
            AuditEvent::UserLogin => "user.login",
            AuditEvent::UserLogout => "user.logout",
            AuditEvent::UserPasswordChanged => "user.password_changed",
            AuditEvent::UserProfileUpdated => "user.profile_updated",
            AuditEvent::SecurityLoginFailed => "security.login_failed",
            AuditEvent::SecuritySessionTerminated => "security.session_terminated",
            AuditEvent::SecurityApiKeyCreated => "security.api_key_created",
            AuditEvent::SecurityApiKeyRevoked => "security.api_key_revoked",
            AuditEvent::SecurityProviderKeyStored => "security.provider_key_stored",
            AuditEvent::SecurityProviderKeyDeleted => "security.provider_key_deleted",
            AuditEvent::SystemAdminAction => "system.admin_action",
            AuditEvent::SystemBudgetChanged => "system.budget_changed",
            AuditEvent::SystemBudgetReached => "system.budget_reached",
        }
    }
}
