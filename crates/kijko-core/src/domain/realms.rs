//! People as an outside identity provider knows them: a realm, its sessions and its tokens.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::domain::ids::{OrganizationId, SessionId, UserId};
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
    pub profile: RealmProfile,
    /// Whether the realm counts them among the staff.
    pub is_platform_admin: bool,
    pub expires_at: Timestamp,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RealmProfile {
    pub email: Option<String>,
    pub email_verified: bool,
    pub given_name: Option<String>,
    pub family_name: Option<String>,
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

impl RealmProfile {
    /// As ours are stored. None when there is none that could be.
    pub fn address(&self) -> Option<String> {
        let address = self.email.as_deref()?.trim().to_lowercase();
        (address.contains('@') && (3..=254).contains(&address.chars().count())).then_some(address)
    }

    /// First and last name as ours are stored: the realm may have none, or stranger ones than we take.
    pub fn names(&self) -> (String, String) {
        let local = self.email.as_deref().and_then(|email| email.split('@').next());
        let first = [self.given_name.as_deref(), local].into_iter().flatten().map(tamed).find(|name| !name.is_empty());
        let last = self.family_name.as_deref().map(tamed).filter(|name| !name.is_empty());
        (first.unwrap_or_else(|| "-".into()), last.unwrap_or_else(|| "-".into()))
    }
}

fn tamed(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>')).take(50).collect();
    name.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(email: &str, given: &str, family: &str) -> RealmProfile {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        RealmProfile { email: text(email), email_verified: true, given_name: text(given), family_name: text(family) }
    }

    #[test]
    fn names_of_the_realm_fit_into_ours() {
        let cases = [
            (profile("ada@x.org", "Ada", "Lovelace"), ("Ada", "Lovelace")),
            (profile("ada@x.org", "", ""), ("ada", "-")),
            (profile("", "", ""), ("-", "-")),
            (profile("ada@x.org", "  <b>Ada\u{7}</b> ", " "), ("bAda/b", "-")),
        ];
        for (profile, (first, last)) in cases {
            assert_eq!(profile.names(), (first.to_owned(), last.to_owned()), "{profile:?}");
        }
        assert_eq!(profile("a@x.org", &"x".repeat(300), "").names().0.len(), 50);
    }

    #[test]
    fn an_address_is_taken_only_where_it_could_be_stored() {
        assert_eq!(profile(" Ada@X.org ", "", "").address().as_deref(), Some("ada@x.org"));
        for bad in ["", "ada", &format!("{}@x.org", "a".repeat(260))] {
            assert_eq!(profile(bad, "", "").address(), None, "{bad}");
        }
    }
}
