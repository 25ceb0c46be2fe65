//! Invitations to an organisation. The secret that accepts one exists in the mail alone, and here only as its hash.

use chrono::TimeDelta;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::domain::accounts::normalized_email;
use crate::domain::check::Check;
use crate::domain::ids::{InvitationId, OrganizationId, UserId};
use crate::domain::organizations::Role;
use crate::domain::time::{Timestamp, millis};
use crate::domain::vocabulary::vocabulary;
use crate::error::{Code, Error, Result};

/// How long an invitation can be accepted.
pub const LIFE: TimeDelta = TimeDelta::days(7);
const MAX_AT_ONCE: usize = 50;

vocabulary! {
    InvitationStatus {
        Pending = "pending",
        Accepted = "accepted",
        Expired = "expired",
        Cancelled = "cancelled",
    }
}

impl InvitationStatus {
    /// What is stored as pending has expired when its time is over.
    pub fn at(self, now: Timestamp, expires_at: Timestamp) -> Self {
        if self == InvitationStatus::Pending && expires_at <= now { InvitationStatus::Expired } else { self }
    }
}

/// Somebody who may become a member.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TeamInvitation {
    pub id: InvitationId,
    pub team_id: OrganizationId,
    pub email: String,
    pub role: Role,
    pub invited_by: Inviter,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The id again: what accepts the invitation is in the mail alone.
    pub token: InvitationId,
    pub status: InvitationStatus,
    #[serde(serialize_with = "millis")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub expires_at: Timestamp,
    #[serde(serialize_with = "millis")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Inviter {
    pub id: UserId,
    pub name: String,
}

/// What an invitation says to whoever holds its secret, before they sign in.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct InvitationPreview {
    pub organization_name: String,
    pub email: String,
    pub role: Role,
    pub invited_by_name: String,
    #[serde(serialize_with = "millis")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub expires_at: Timestamp,
}

/// An invitation as its secret finds it, with the organisation that it leads to.
#[derive(Clone, Debug)]
pub struct Invited {
    pub id: InvitationId,
    pub organization_id: OrganizationId,
    pub organization_name: String,
    pub email: String,
    pub role: Role,
    pub invited_by_name: String,
    pub status: InvitationStatus,
    pub expires_at: Timestamp,
}

impl Invited {
    /// Refuses with `NOT_FOUND` what was withdrawn or used, and with `INVITATION_EXPIRED`.
    pub fn require_open(&self, now: Timestamp) -> Result<()> {
        match self.status.at(now, self.expires_at) {
            InvitationStatus::Pending => Ok(()),
            InvitationStatus::Expired => Err(Error::Gone { code: Code::InvitationExpired }),
            InvitationStatus::Accepted | InvitationStatus::Cancelled => Err(Error::not_found(Code::NotFound)),
        }
    }

    /// Whether this person, who holds the secret, may use it: also with `FORBIDDEN` when it was sent to somebody else.
    pub fn require_acceptable(&self, email: &str, now: Timestamp) -> Result<()> {
        if self.status == InvitationStatus::Cancelled {
            return Err(Error::not_found(Code::NotFound));
        }
        if self.email != email {
            return Err(Error::Forbidden { code: Code::Forbidden });
        }
        match self.require_open(now) {
            // They clicked twice.
            Err(Error::NotFound { .. }) => Err(Error::conflict(Code::AlreadyMember)),
            other => other,
        }
    }

    pub fn preview(self) -> InvitationPreview {
        InvitationPreview {
            organization_name: self.organization_name,
            email: self.email,
            role: self.role,
            invited_by_name: self.invited_by_name,
            expires_at: self.expires_at,
        }
    }
}

/// Whom to invite, and as what.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InviteMemberData {
    /// 1 to 50 addresses; the same one twice counts once.
    pub emails: Vec<String>,
    /// `admin`, `member` or `viewer`.
    pub role: Role,
    /// At most 500 characters, for the mail.
    pub message: Option<String>,
}

impl InviteMemberData {
    /// The same with addresses in lower case, each once, or everything that is wrong with it.
    pub fn checked(self) -> Result<Self> {
        let mut check = Check::default();
        check.that((1..=MAX_AT_ONCE).contains(&self.emails.len()), "emails", "length", || {
            format!("emails must have 1 to {MAX_AT_ONCE} entries, not {}", self.emails.len())
        });
        let mut emails: Vec<String> = Vec::new();
        for (index, email) in self.emails.iter().take(MAX_AT_ONCE).enumerate() {
            let (email, field) = (normalized_email(email), format!("emails[{index}]"));
            check.that(email.len() <= 254 && is_address(&email), &field, "format", || {
                format!("{field} must be an e-mail address such as ada@example.com")
            });
            if !emails.contains(&email) {
                emails.push(email);
            }
        }
        check.that(self.role != Role::Owner, "role", "format", || {
            "role must be admin, member or viewer: ownership is handed over, not offered".into()
        });
        let message = self.message.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        if let Some(message) = &message {
            check.text("message", message, 1, 500);
        }
        check.done()?;
        Ok(Self { emails, role: self.role, message })
    }
}

/// One `@` between text without spaces, and a dot inside what follows it.
fn is_address(email: &str) -> bool {
    let dotted = |domain: &str| domain.char_indices().any(|(at, c)| c == '.' && at > 0 && at + 1 < domain.len());
    !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && email
            .split_once('@')
            .is_some_and(|(name, domain)| !name.is_empty() && !domain.contains('@') && dotted(domain))
}

/// The secret of an invitation, out of the link in its mail.
#[derive(Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InvitationToken {
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub token: SecretString,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite(emails: &[&str], role: Role, message: Option<&str>) -> Result<InviteMemberData> {
        let emails = emails.iter().map(|email| (*email).to_owned()).collect();
        InviteMemberData { emails, role, message: message.map(str::to_owned) }.checked()
    }

    #[test]
    fn addresses_are_normalised_and_each_counts_once() {
        let invite =
            invite(&[" Ada@Example.com", "ada@example.com", "bob@x.co"], Role::Member, Some("  ")).expect("good");
        assert_eq!(invite.emails, ["ada@example.com", "bob@x.co"]);
        assert_eq!(invite.message, None);
    }

    #[test]
    fn what_is_no_address_is_told_by_its_place() {
        for bad in ["", "ada", "@x.co", "a@x", "a@.x", "a@x.", "a b@x.co", "a@b@x.co", "a\u{0}@x.co"] {
            let Err(Error::Invalid { violations, .. }) = invite(&["ada@x.co", bad], Role::Member, None) else {
                panic!("{bad:?} was taken for an address")
            };
            assert_eq!(violations[0].field, "emails[1]", "{bad:?}");
        }
        for good in ["a@x.co", "a+b@x..co", "ä@x.co", "a@x.co.uk"] {
            assert!(invite(&[good], Role::Member, None).is_ok(), "{good} is an address");
        }
    }

    #[test]
    fn all_that_is_wrong_with_an_invitation_is_said_at_once() {
        let too_many: Vec<String> = (0..51).map(|n| format!("p{n}@x.co")).collect();
        let too_many: Vec<&str> = too_many.iter().map(String::as_str).collect();
        for emails in [&[][..], &too_many] {
            let Err(Error::Invalid { violations, .. }) = invite(emails, Role::Owner, Some(&"x".repeat(501))) else {
                panic!("an invitation with three mistakes was accepted")
            };
            let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
            assert_eq!(fields, ["emails", "role", "message"]);
        }
    }

    #[test]
    fn an_invitation_opens_for_its_address_and_in_its_time() {
        let now = Timestamp::UNIX_EPOCH;
        let table = [
            (InvitationStatus::Pending, 1, "ada@x.co", "ok"),
            (InvitationStatus::Pending, 0, "ada@x.co", "INVITATION_EXPIRED"),
            (InvitationStatus::Expired, 1, "ada@x.co", "INVITATION_EXPIRED"),
            (InvitationStatus::Cancelled, 1, "ada@x.co", "NOT_FOUND"),
            (InvitationStatus::Accepted, 1, "ada@x.co", "ALREADY_MEMBER"),
            (InvitationStatus::Pending, 1, "eve@x.co", "FORBIDDEN"),
            (InvitationStatus::Pending, 0, "eve@x.co", "FORBIDDEN"),
            (InvitationStatus::Accepted, 1, "eve@x.co", "FORBIDDEN"),
            (InvitationStatus::Cancelled, 1, "eve@x.co", "NOT_FOUND"),
        ];
        for (status, seconds_left, email, expected) in table {
            let invited = Invited {
                id: InvitationId(uuid::Uuid::nil()),
                organization_id: OrganizationId(uuid::Uuid::nil()),
                organization_name: "Analytical Engines".into(),
                email: "ada@x.co".into(),
                role: Role::Member,
                invited_by_name: "Charles".into(),
                status,
                expires_at: now + TimeDelta::seconds(seconds_left),
            };
            let outcome = invited.require_acceptable(email, now);
            let outcome = outcome.map_or_else(|error| error.code().as_str(), |()| "ok");
            assert_eq!(outcome, expected, "{status:?}, {seconds_left} s left, for {email}");
        }
    }
}
