//! Signing in by way of somebody who knows the person: the authorization code with PKCE.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::domain::vocabulary::vocabulary;

vocabulary! {
    /// Who can vouch for somebody.
    OauthProvider { Google = "google", Github = "github", Keycloak = "keycloak" }
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
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub code: SecretString,
    /// The same as at the start.
    pub redirect_uri: String,
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub state: SecretString,
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
