//! People as an outside identity provider knows them: a realm, its sessions and its tokens.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::domain::ids::{OrganizationId, SessionId, UserId};
use crate::domain::profiles::Profile;
use crate::domain::time::Timestamp;

/// What a verified access token of the realm says.
#[derive(Clone, Debug)]
pub struct RealmClaims {
    /// Who it is, in the realm's words.
    pub subject: String,
    /// Which sign-in it belongs to, in the realm's words.
    pub sid: String,
    /// The same as an id of ours; always the same one for the same sign-in.
    pub session_id: SessionId,
    /// The organisation that the token is for. What is no id of an organisation is the nil id, which is nobody's.
    pub organization: Option<OrganizationId>,
    pub profile: Profile,
    /// Whether the realm counts them among the staff.
    pub is_platform_admin: bool,
    /// When they were last asked who they are; a realm may keep that to itself.
    pub authenticated_at: Option<Timestamp>,
    pub expires_at: Timestamp,
}

/// What the realm gives for a grant.
#[derive(Clone, Debug)]
pub struct RealmTokens {
    pub access_token: SecretString,
    pub refresh_token: SecretString,
    /// Life of the access token in seconds.
    pub expires_in: i64,
    pub claims: RealmClaims,
}

/// The same as it is kept, sealed, between two refreshes.
#[derive(Serialize, Deserialize)]
pub struct KeptTokens {
    pub access_token: String,
    pub refresh_token: String,
    pub expires_in: i64,
}

impl From<&RealmTokens> for KeptTokens {
    fn from(tokens: &RealmTokens) -> Self {
        Self {
            access_token: tokens.access_token.expose_secret().to_owned(),
            refresh_token: tokens.refresh_token.expose_secret().to_owned(),
            expires_in: tokens.expires_in,
        }
    }
}

/// A sign-in at the realm, as far as we remember it.
#[derive(Clone, Debug)]
pub struct RealmSession {
    pub sid: String,
    /// `KeptTokens`; gone once the session ended.
    pub sealed: Option<Vec<u8>>,
    pub ended: bool,
}

/// A user of ours whom the realm may be speaking of.
#[derive(Clone, Copy, Debug)]
pub struct Namesake {
    pub id: UserId,
    pub email_verified: bool,
    pub linked: bool,
}
