//! What processes tell each other. Sent in the transaction of the change, delivered when it commits.

use serde::{Deserialize, Serialize};

use crate::domain::ids::{ApiKeyId, ExecutionId, OrganizationId, SessionId, SkillId, UserId};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Event {
    /// Access tokens of this session are refused from now on.
    SessionRevoked { session_id: SessionId },
    /// This API key is refused from now on.
    ApiKeyRevoked { api_key_id: ApiKeyId },
    /// What is remembered of this person (role, membership, whether they are disabled) is no longer so.
    UserChanged { user_id: UserId },
    /// Other keys sign or verify access tokens than before.
    SigningKeysChanged,
    /// So much of a monthly budget, the organisation's or that of a skill, is spent.
    BudgetReached { organization_id: OrganizationId, skill_id: Option<SkillId>, month: String, percent: u8 },
    /// Somebody other than its worker ended this run; the worker drops the call.
    ExecutionEnded { execution_id: ExecutionId },
}

/// A part of an answer while it is being written, for whoever watches. Best effort: what counts is the output of the
/// run that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The run's name, as clients know it.
    pub run: String,
    /// From 0; a gap means that something was missed.
    pub seq: u32,
    pub text: String,
}
