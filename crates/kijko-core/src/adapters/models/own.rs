//! Providers made of the keys that organisations brought along.

use std::sync::Arc;

use secrecy::SecretString;
use url::Url;

use super::Transport;
use super::anthropic::AnthropicProvider;
use super::google::GoogleProvider;
use super::openai::OpenAiProvider;
use crate::domain::models::{Endpoint, OPENAI_URL, Provider};
use crate::error::{Code, Error, Result};
use crate::ports::models::{ModelProvider, OwnProviders};
use crate::ports::outbound::AddressGuard;

pub(crate) struct OwnKeyProviders {
    /// To the addresses that the settings name.
    pub(crate) fixed: Transport,
    /// To addresses that users supplied; the guard decides where it connects to.
    pub(crate) guarded: Transport,
    pub(crate) guard: Arc<dyn AddressGuard>,
    pub(crate) anthropic_base_url: String,
    pub(crate) google_base_url: String,
}

impl OwnProviders for OwnKeyProviders {
    fn connect(
        &self,
        provider: Provider,
        key: &SecretString,
        endpoint: Option<&Endpoint>,
    ) -> Result<Arc<dyn ModelProvider>> {
        let fixed = self.fixed.clone();
        Ok(match (provider, endpoint) {
            (Provider::Anthropic, _) => Arc::new(AnthropicProvider::new(fixed, &self.anthropic_base_url, key)?),
            (Provider::Google, _) => Arc::new(GoogleProvider::new(fixed, &self.google_base_url, key)?),
            (Provider::OpenAi, None) => {
                let endpoint = Endpoint { base_url: OPENAI_URL.to_owned(), api_version: None };
                Arc::new(OpenAiProvider::new(fixed, endpoint, Some(key))?)
            }
            (Provider::OpenAi, Some(endpoint)) => {
                // Asked each time: what is allowed may have changed since the address was stored.
                if !Url::parse(&endpoint.base_url).is_ok_and(|url| self.guard.permits(&url)) {
                    return Err(Error::invalid("baseUrl", "format", "baseUrl must be a public address, over https"));
                }
                Arc::new(OpenAiProvider::new(self.guarded.clone(), endpoint.clone(), Some(key))?)
            }
            (Provider::Offline | Provider::Program, _) => {
                return Err(Error::Unavailable { code: Code::ProviderNotConfigured, source: None });
            }
        })
    }
}
