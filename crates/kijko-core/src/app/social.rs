//! Those that vouch for people where there is no realm that asks them itself.

use std::sync::Arc;

use super::StartError;
use crate::adapters::social::github::GitHub;
use crate::adapters::social::google::Google;
use crate::config::{AuthMode, Config};
use crate::domain::oauth::OauthProvider;
use crate::ports::oauth::SocialProviders;

/// One for every client id that is set.
pub(super) fn connect(config: &Config) -> Result<SocialProviders, StartError> {
    let social = &config.social;
    let mut providers = SocialProviders::new();
    if config.identity.mode == AuthMode::Keycloak {
        return Ok(providers);
    }
    if let Some(client) = &social.google {
        let google = Google::new(client, &social.google_issuer);
        let google = google.map_err(|e| StartError::secret("GOOGLE_CLIENT_SECRET", e))?;
        providers.insert(OauthProvider::Google, Arc::new(google));
    }
    if let Some(client) = &social.github {
        let github = GitHub::new(client, &social.github_url, &social.github_api_url);
        let github = github.map_err(|e| StartError::secret("GITHUB_CLIENT_SECRET", e))?;
        providers.insert(OauthProvider::Github, Arc::new(github));
    }
    Ok(providers)
}
