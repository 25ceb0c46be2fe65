//! Signing in by way of somebody who knows the person: the authorization code with PKCE.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::domain::vocabulary::vocabulary;
use crate::error::{Error, Result};

vocabulary! {
    /// Who can vouch for somebody.
    OauthProvider { Google = "google", Github = "github", Keycloak = "keycloak" }
}

impl OauthProvider {
    /// As people know it.
    pub fn title(self) -> &'static str {
        match self {
            OauthProvider::Google => "Google",
            OauthProvider::Github => "GitHub",
            OauthProvider::Keycloak => "Keycloak",
        }
    }
}

/// What a start may ask for.
#[derive(Debug, Default, Deserialize)]
pub struct OauthQuery {
    pub redirect_uri: Option<String>,
}

/// Reply to a start.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OauthStart {
    /// Send the browser there.
    pub redirect_url: String,
    pub provider: OauthProvider,
}

/// What the browser came back with.
#[derive(Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OauthCallback {
    /// Required unless there is an `error`.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub code: Option<SecretString>,
    /// What the provider said instead of a code, such as `access_denied`. The state is used up all the same.
    pub error: Option<String>,
    /// The same as at the start.
    pub redirect_uri: String,
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub state: SecretString,
}

impl OauthCallback {
    /// Longest code that is sent on; those of the providers are much shorter.
    const MAX_CODE: usize = 4096;

    pub fn checked(self) -> Result<Self> {
        if self.code.is_none() && self.error.is_none() {
            return Err(Error::invalid("code", "required", "code is required"));
        }
        Ok(self)
    }

    /// What may be good for something. None when the provider let nobody in, as when a person changed their mind.
    pub fn usable_code(&self) -> Option<&str> {
        let code = self.code.as_ref().filter(|_| self.error.is_none())?.expose_secret();
        (1..=Self::MAX_CODE).contains(&code.len()).then_some(code)
    }
}

/// What a sign-in needs to remember until the browser comes back; kept sealed under its state.
#[derive(Serialize, Deserialize)]
pub struct OauthTicket {
    pub provider: OauthProvider,
    pub redirect_uri: String,
    /// Of PKCE: shows that whoever began is whoever ends.
    pub verifier: String,
    /// Shows that the ID token was made for this sign-in.
    pub nonce: String,
}

/// Whether a browser may be sent there: an exact origin of the list, without credentials in the address.
pub fn may_redirect(uri: &str, allowed: &[String]) -> bool {
    let Ok(url) = Url::parse(uri) else { return false };
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let origin = url.origin();
    plain && origin.is_tuple() && allowed.iter().any(|one| Url::parse(one).is_ok_and(|one| one.origin() == origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_sent_to_exact_origins_only() {
        let allowed = ["http://localhost:3000".to_owned(), "https://app.kijko.nl".to_owned()];
        for good in ["http://localhost:3000/auth/callback", "https://app.kijko.nl", "https://APP.kijko.nl:443/x?y=z"] {
            assert!(may_redirect(good, &allowed), "{good}");
        }
        let bad = [
            "",
            "/auth/callback",
            "javascript:alert(1)",
            "data:text/html,x",
            "http://localhost:3001/",
            "http://app.kijko.nl/",
            "https://app.kijko.nl.evil.example/",
            "https://evil.example/https://app.kijko.nl",
            "https://app.kijko.nl@evil.example/",
            "https://user:secret@app.kijko.nl/",
            "https://app.kijko.nl/#token",
            "//app.kijko.nl/",
        ];
        for bad in bad {
            assert!(!may_redirect(bad, &allowed), "{bad}");
        }
    }
}
