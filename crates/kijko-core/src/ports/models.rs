//! Language models. A provider streams one attempt; retries, time-outs and cancellation are the service's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use secrecy::SecretString;
use serde_json::Number;
use tokio::sync::watch;

use crate::domain::executions::Failure;
use crate::domain::models::{Catalogue, Endpoint, KeySource, ModelRoute, ModelRoutes, Provider};
use crate::domain::offered_models::OfferedModel;
use crate::error::{Code, Error, Result};

/// One call, with nothing left to decide.
#[derive(Clone, Debug)]
pub struct ModelRequest {
    pub model: String,
    /// What the model is told beside the prompt.
    pub system: Option<String>,
    pub prompt: String,
    pub max_tokens: u32,
    pub temperature: Option<Number>,
    pub top_p: Option<Number>,
    pub top_k: Option<u32>,
    pub stop_sequences: Vec<String>,
}

pub type ModelStream = BoxStream<'static, Result<ModelEvent, ModelError>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelEvent {
    /// The next piece of the answer; never empty.
    Text(String),
    /// Tokens of this attempt so far; each figure replaces the one before.
    Usage { prompt_tokens: Option<u64>, completion_tokens: Option<u64> },
}

/// Why an attempt failed. The sentence is for the owner of the run, so it holds nothing of ours.
#[derive(Clone, Debug)]
pub struct ModelError {
    pub failure: Failure,
    pub is_retryable: bool,
    /// How long the provider asks us to wait.
    pub retry_after: Option<Duration>,
}

#[async_trait]
pub trait ModelProvider: Send + Sync {
    /// Starts an attempt. The stream ends after the last event of a whole answer, and only then; everything else,
    /// a cut connection too, is an error. Dropping the stream drops the connection.
    async fn stream(&self, request: &ModelRequest) -> Result<ModelStream, ModelError>;

    /// Whether the provider is there and takes the key; a call that costs nothing.
    async fn check(&self) -> Result<(), ModelError>;
}

/// Where a call can go.
#[derive(Clone)]
pub struct Target {
    pub route: ModelRoute,
    pub provider: Arc<dyn ModelProvider>,
    pub key_source: KeySource,
    /// What was asked for, where this is another model.
    pub requested: Option<String>,
}

/// Makes providers of keys that organisations brought along.
pub trait OwnProviders: Send + Sync {
    /// Calls nobody. Refuses with `VALIDATION_ERROR` an address that is not public.
    fn connect(
        &self,
        provider: Provider,
        key: &SecretString,
        endpoint: Option<&Endpoint>,
    ) -> Result<Arc<dyn ModelProvider>>;
}

/// The catalogue, and the providers that are set up.
#[derive(Clone)]
pub struct Models {
    catalogue: Arc<Catalogue>,
    routes: Arc<ModelRoutes>,
    /// With the keys of the installation.
    providers: HashMap<Provider, Arc<dyn ModelProvider>>,
    own: Arc<dyn OwnProviders>,
    /// What the program that we run in serves, by the name of the model.
    offered: watch::Sender<HashMap<String, Offered>>,
}

type Offered = (OfferedModel, Arc<dyn ModelProvider>);

impl Models {
    /// With no provider but the offline one, that one answers for every model.
    pub fn new(
        catalogue: Catalogue,
        routes: ModelRoutes,
        providers: HashMap<Provider, Arc<dyn ModelProvider>>,
        own: Arc<dyn OwnProviders>,
    ) -> Self {
        Self {
            catalogue: Arc::new(catalogue),
            routes: Arc::new(routes),
            providers,
            own,
            offered: watch::Sender::default(),
        }
    }

    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    pub fn routes(&self) -> &ModelRoutes {
        &self.routes
    }

    /// Those that are set up, in a stable order.
    pub fn providers(&self) -> Vec<(Provider, Arc<dyn ModelProvider>)> {
        let mut providers: Vec<_> = self.providers.iter().map(|(name, provider)| (*name, provider.clone())).collect();
        providers.sort_by_key(|(name, _)| name.as_str());
        providers
    }

    /// Whether the installation can call this provider.
    pub fn serves(&self, provider: Provider) -> bool {
        self.providers.contains_key(&Provider::Offline) || self.providers.contains_key(&provider)
    }

    /// In place of what was offered by this name earlier.
    pub fn offer(&self, model: OfferedModel, provider: Arc<dyn ModelProvider>) {
        self.offered.send_modify(|offered| {
            offered.insert(model.name.clone(), (model, provider));
        });
    }

    /// Not any more.
    pub fn withdraw(&self, model: &str) {
        self.offered.send_if_modified(|offered| offered.remove(model).is_some());
    }

    pub fn withdraw_all(&self) {
        self.offered.send_modify(HashMap::clear);
    }

    /// What the program that we run in serves now, and a word whenever that changes.
    pub fn offered(&self) -> (Vec<OfferedModel>, impl Future<Output = ()> + use<>) {
        let mut changes = self.offered.subscribe();
        let offered = changes.borrow_and_update().values().map(|(model, _)| model.clone()).collect();
        // Never without a sender: this is one.
        (offered, async move { changes.changed().await.unwrap_or(()) })
    }

    /// Whether the program that we run in serves it.
    pub fn offers(&self, model: &str) -> bool {
        self.offered.borrow().contains_key(model)
    }

    /// Who serves this model, and as what. Refuses with `MODEL_NOT_SUPPORTED`.
    pub fn route(&self, model: &str) -> Result<ModelRoute> {
        if let Some((model, _)) = self.offered.borrow().get(model) {
            return Ok(model.route());
        }
        self.catalogue.resolve(model).ok_or_else(|| Error::Invalid {
            code: Code::ModelNotSupported,
            violations: vec![crate::error::Violation {
                field: "model".into(),
                message: format!("No provider serves the model {model:?}"),
                code: "unknown",
            }],
        })
    }

    /// With the key of the installation. Refuses with `PROVIDER_NOT_CONFIGURED`.
    pub fn target(&self, route: ModelRoute) -> Result<Target> {
        let target = |route, provider: &Arc<dyn ModelProvider>| Target {
            route,
            provider: provider.clone(),
            key_source: KeySource::Platform,
            requested: None,
        };
        if route.provider == Provider::Program {
            let program = self.offered.borrow().get(&route.model).map(|(_, program)| program.clone());
            let program = program.ok_or(Error::Unavailable { code: Code::ProviderNotConfigured, source: None })?;
            return Ok(target(route, &program));
        }
        if let Some(offline) = self.providers.get(&Provider::Offline) {
            return Ok(target(ModelRoute { provider: Provider::Offline, ..route }, offline));
        }
        match self.providers.get(&route.provider) {
            Some(provider) => Ok(target(route, provider)),
            None => Err(Error::Unavailable { code: Code::ProviderNotConfigured, source: None }),
        }
    }

    /// With a key that an organisation brought along; see `OwnProviders`.
    pub fn connect(
        &self,
        provider: Provider,
        key: &SecretString,
        endpoint: Option<&Endpoint>,
    ) -> Result<Arc<dyn ModelProvider>> {
        self.own.connect(provider, key, endpoint)
    }
}
