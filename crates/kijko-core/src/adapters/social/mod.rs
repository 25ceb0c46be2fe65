//! Google and GitHub as those who vouch for people.

use oauth2::AuthType;

use crate::adapters::oidc::grants::{Refusal, Registration, refused};
use crate::config::SocialClient;
use crate::error::{Code, Error};

pub(crate) mod github;
pub(crate) mod google;

/// What they call a code that they do not take. Nothing of the exchange but the code is the caller's, so that a request
/// that is no good means the code too.
const NO_GOOD: [&str; 3] = ["invalid_grant", "invalid_request", "bad_verification_code"];

fn registration(client: &SocialClient) -> Registration {
    Registration {
        client_id: client.id.clone(),
        client_secret: client.secret.clone(),
        auth_type: AuthType::RequestBody,
    }
}

fn no_good(refusal: Refusal) -> Error {
    refused(refusal, &NO_GOOD, Code::OauthCodeInvalid)
}
