//! People and organisations as whoever runs the installation sees them.

use serde::Serialize;

use crate::domain::budgets::Budget;
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::organizations::Role;
use crate::domain::plans::Plan;
use crate::domain::time::{Timestamp, millis, millis_option};
use crate::domain::usage::Metric;

/// How an operator names a person.
#[derive(Clone, Debug)]
pub enum UserRef {
    Id(UserId),
    Email(String),
}

impl UserRef {
    /// An id, or else an address.
    pub fn parse(text: &str) -> Self {
        match text.trim().parse() {
            Ok(id) => Self::Id(id),
            Err(_) => Self::Email(text.trim().to_lowercase()),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserRecord {
    pub id: UserId,
    pub email: String,
    pub email_verified: bool,
    pub first_name: String,
    pub last_name: String,
    pub is_platform_admin: bool,
    #[serde(serialize_with = "millis_option", skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<Timestamp>,
    #[serde(serialize_with = "millis")]
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MembershipRecord {
    pub organization_id: OrganizationId,
    pub organization_name: String,
    pub user_id: UserId,
    pub email: String,
    pub role: Role,
    pub status: String,
    #[serde(serialize_with = "millis")]
    pub joined_at: Timestamp,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserDetails {
    #[serde(flatten)]
    pub user: UserRecord,
    pub memberships: Vec<MembershipRecord>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OrganizationRecord {
    pub id: OrganizationId,
    pub name: String,
    pub plan: Plan,
    /// Of the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_email: Option<String>,
    /// Active members.
    pub members: i64,
    #[serde(serialize_with = "millis")]
    pub created_at: Timestamp,
}

/// What an organisation has used of its plan and its budget in the present periods.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OrganizationUsage {
    pub organization: OrganizationRecord,
    pub metrics: Vec<MetricUsage>,
    pub budget: Budget,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricUsage {
    pub metric: Metric,
    pub used: i64,
    /// -1 for none.
    pub limit: i64,
}

/// A person as an operator adds one.
#[derive(Clone, Debug)]
pub struct NewPerson {
    pub email: String,
    pub first_name: String,
    pub last_name: String,
}

/// A way in for somebody whose password was taken away, or who never had one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WayIn {
    pub user: UserRecord,
    /// Good once, for an hour; absent when a password was set. Appears here and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset_link: Option<String>,
}
