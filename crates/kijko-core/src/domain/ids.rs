//! Identifiers: one type per thing, so that one cannot be passed for another.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = Uuid))]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    )*};
}

ids! {
    /// An organisation: the tenant.
    OrganizationId,
    /// A person, across organisations.
    UserId,
    /// One sign-in, with its family of refresh tokens.
    SessionId,
    /// One refresh token of a session.
    RefreshTokenId,
    /// A key pair that signs access tokens; its `kid`.
    SigningKeyId,
    /// A long-lived credential of a person in one organisation.
    ApiKeyId,
    SkillId,
    ExecutionId,
    AuditLogId,
    /// Somebody's place in one organisation.
    MemberId,
    InvitationId,
    /// A mail on its way out.
    MailId,
    /// A single-use secret, as a link or a redirect carries one.
    TicketId,
    LoginAttemptId,
}
