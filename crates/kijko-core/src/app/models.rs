//! The model catalogue and the providers, wired.

use std::collections::HashMap;
use std::sync::Arc;

use super::StartError;
use crate::adapters::models::Transport;
use crate::adapters::models::anthropic::AnthropicProvider;
use crate::adapters::models::google::GoogleProvider;
use crate::adapters::models::offline::OfflineProvider;
use crate::adapters::models::openai::OpenAiProvider;
use crate::adapters::models::own::OwnKeyProviders;
use crate::adapters::outbound::Guard;
use crate::config::{Config, Environment};
use crate::domain::models::{Catalogue, Endpoint, OPENAI_URL, Provider};
use crate::ports::clock::Clock;
use crate::ports::models::{ModelProvider, Models};

/// The catalogue, and a provider for every key that is set; in `local` with none, the offline one.
pub(super) fn connect(config: &Config, clock: &Arc<dyn Clock>) -> Result<Models, StartError> {
    let text = match &config.models.catalogue {
        Some(path) => std::fs::read_to_string(path).map_err(|e| StartError::file(path, e))?,
        None => include_str!("../../models.toml").to_owned(),
    };
    let catalogue: Catalogue = toml::from_str(&text).map_err(StartError::Catalogue)?;
    if let Some(problem) = catalogue.problem() {
        return Err(StartError::secret("MODEL_CATALOGUE", problem));
    }
    if let Some(model) = config.models.routes.stranger_to(&catalogue) {
        let problem = format!("{model} is no model of this provider in the catalogue");
        return Err(StartError::secret("MODEL_ROUTES", problem));
    }
    let mut providers: HashMap<Provider, Arc<dyn ModelProvider>> = HashMap::new();
    let settings = &config.models;
    let transport = Transport::new(settings, clock.clone()).map_err(|e| StartError::secret("MODEL_CATALOGUE", e))?;
    if let Some(key) = &settings.anthropic_api_key {
        let provider = AnthropicProvider::new(transport.clone(), &settings.anthropic_base_url, key);
        let provider = provider.map_err(|e| StartError::secret("ANTHROPIC_API_KEY", e))?;
        providers.insert(Provider::Anthropic, Arc::new(provider));
    }
    if let Some(key) = &settings.google_api_key {
        let provider = GoogleProvider::new(transport.clone(), &settings.google_base_url, key);
        let provider = provider.map_err(|e| StartError::secret("GOOGLE_API_KEY", e))?;
        providers.insert(Provider::Google, Arc::new(provider));
    }
    // A server of one's own needs no key, so its address is enough.
    if settings.openai_api_key.is_some() || settings.openai_base_url.is_some() {
        let base_url = settings.openai_base_url.clone().unwrap_or_else(|| OPENAI_URL.to_owned());
        let endpoint = Endpoint { base_url, api_version: settings.openai_api_version.clone() };
        let provider = OpenAiProvider::new(transport.clone(), endpoint, settings.openai_api_key.as_ref());
        let provider = provider.map_err(|e| StartError::secret("OPENAI_API_KEY", e))?;
        providers.insert(Provider::OpenAi, Arc::new(provider));
    }
    if providers.is_empty() && config.environment == Environment::Local {
        providers.insert(Provider::Offline, Arc::new(OfflineProvider));
    }
    let guard = Guard::new(&config.http.outbound_allowlist);
    let guarded = Transport::over(guard.client(), settings, clock.clone());
    let own = OwnKeyProviders {
        fixed: transport,
        guarded: guarded.map_err(|e| StartError::secret("OUTBOUND_ALLOWLIST", e))?,
        guard: Arc::new(guard),
        anthropic_base_url: settings.anthropic_base_url.clone(),
        google_base_url: settings.google_base_url.clone(),
    };
    Ok(Models::new(catalogue, settings.routes.clone(), providers, Arc::new(own)))
}
