//! The model catalogue: which models exist, who serves them, what they cost. It is configuration, not code.

use rust_decimal::Decimal;
use serde::Deserialize;

use crate::domain::money::Rates;
use crate::domain::skills::DEFAULT_MODEL;

/// Where OpenAI itself is.
pub const OPENAI_URL: &str = "https://api.openai.com/v1";
const OPENAI_PREFIX: &str = "openai/";

/// Who answers a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    Anthropic,
    Google,
    /// OpenAI, or whoever speaks its API.
    #[serde(rename = "openai")]
    OpenAi,
    /// Answers on this machine; for trying Kijko without a key.
    #[serde(skip)]
    Offline,
}

impl Provider {
    pub fn as_str(self) -> &'static str {
        match self {
            Provider::Anthropic => "anthropic",
            Provider::Google => "google",
            Provider::OpenAi => "openai",
            Provider::Offline => "offline",
        }
    }
}

/// Where somebody speaks OpenAI's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// With the version in the path where there is one: `https://api.openai.com/v1`; of Azure only the origin.
    pub base_url: String,
    /// Azure's `api-version`; makes it Azure's way of naming a model in the path.
    pub api_version: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelEntry {
    /// The product's name of the model; what a skill stores.
    pub id: String,
    pub name: String,
    pub description: String,
    pub provider: Provider,
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What is really sent to the provider; the id when absent.
    pub provider_model_id: Option<String>,
    /// US dollars per million tokens.
    pub input_cost_per_million: Decimal,
    pub output_cost_per_million: Decimal,
    pub max_output_tokens: u32,
    /// The model refuses temperature and top_p together.
    #[serde(default)]
    pub exclusive_sampling: bool,
    #[serde(default = "enabled")]
    pub enabled: bool,
}

fn enabled() -> bool {
    true
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Catalogue {
    pub models: Vec<ModelEntry>,
}

/// Where a call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRoute {
    pub provider: Provider,
    pub model: String,
    pub rates: Rates,
    pub max_output_tokens: Option<u32>,
    pub exclusive_sampling: bool,
}

impl Catalogue {
    /// By id, then by alias, then by the family that the id names. None when nobody serves it.
    pub fn resolve(&self, model: &str) -> Option<ModelRoute> {
        let by_id = self.models.iter().find(|entry| entry.id == model);
        let entry = by_id.or_else(|| self.models.iter().find(|entry| entry.aliases.iter().any(|a| a == model)));
        if let Some(entry) = entry {
            return entry.enabled.then(|| entry.route());
        }
        let provider = match model {
            _ if model.starts_with("claude") => Provider::Anthropic,
            _ if model.starts_with("gemini") => Provider::Google,
            _ => return self.of_openai(model.strip_prefix(OPENAI_PREFIX)?),
        };
        self.passed_through(provider, model)
    }

    /// Named by the provider's own id, which every model of a server of one's own is. The prefix keeps names such as
    /// `gpt-4`, which parts of the front end offer, from going anywhere by accident.
    fn of_openai(&self, model: &str) -> Option<ModelRoute> {
        if model.is_empty() { None } else { self.passed_through(Provider::OpenAi, model) }
    }

    /// Unknown members of a known family are costed like the default model.
    fn passed_through(&self, provider: Provider, model: &str) -> Option<ModelRoute> {
        let default = self.models.iter().find(|entry| entry.id == DEFAULT_MODEL)?;
        Some(ModelRoute {
            provider,
            model: model.to_owned(),
            max_output_tokens: None,
            exclusive_sampling: default.exclusive_sampling && provider == default.provider,
            ..default.route()
        })
    }
}

impl ModelEntry {
    fn route(&self) -> ModelRoute {
        ModelRoute {
            provider: self.provider,
            model: self.provider_model_id.clone().unwrap_or_else(|| self.id.clone()),
            rates: Rates {
                input_per_million: self.input_cost_per_million,
                output_per_million: self.output_cost_per_million,
            },
            max_output_tokens: Some(self.max_output_tokens),
            exclusive_sampling: self.exclusive_sampling,
        }
    }
}
