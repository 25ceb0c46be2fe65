//! The model catalogue: which models exist, who serves them, what they cost. It is configuration, not code.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::domain::money::Rates;
use crate::domain::plans::Plan;
use crate::domain::skills::DEFAULT_MODEL;
use crate::domain::vocabulary::vocabulary;

/// Where OpenAI itself is.
pub const OPENAI_URL: &str = "https://api.openai.com/v1";
const OPENAI_PREFIX: &str = "openai/";

/// Who answers a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// A program that Kijko runs in; no catalogue has models of it.
    #[serde(skip_deserializing)]
    Program,
}

impl Provider {
    /// Those that one can have a key of, in the order in which they stand in for each other.
    pub const OF_CUSTOMERS: [Provider; 3] = [Provider::Anthropic, Provider::Google, Provider::OpenAi];

    pub fn of_customers(name: &str) -> Option<Self> {
        Self::OF_CUSTOMERS.into_iter().find(|provider| provider.as_str() == name)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Provider::Anthropic => "anthropic",
            Provider::Google => "google",
            Provider::OpenAi => "openai",
            Provider::Offline => "offline",
            Provider::Program => "program",
        }
    }
}

vocabulary!(
    /// Whose key a call was made with: the installation's, or the organisation's own.
    KeySource { Platform = "platform", Own = "own" }
);

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
    /// What is wrong with it, if anything.
    pub fn problem(&self) -> Option<String> {
        let mut names = HashSet::new();
        for entry in &self.models {
            for name in [&entry.id].into_iter().chain(&entry.aliases) {
                if !names.insert(name) {
                    return Some(format!("{name} is named twice"));
                }
            }
            let rates = [entry.input_cost_per_million, entry.output_cost_per_million];
            if rates.iter().any(Decimal::is_sign_negative) || entry.max_output_tokens == 0 {
                return Some(format!("{} has a negative rate, or no room for output", entry.id));
            }
        }
        None
    }

    /// Whether the default model leads to a living one. The model that its id once named was retired.
    pub fn maps_the_default(&self) -> bool {
        let default = self.models.iter().find(|entry| entry.id == DEFAULT_MODEL);
        default.is_some_and(|entry| entry.enabled && entry.provider_model_id.is_some())
    }

    /// Whether this is the name of one of its models, switched on or not, or of one that is passed through.
    pub fn has(&self, name: &str) -> bool {
        let is_named = |entry: &ModelEntry| entry.id == name || entry.aliases.iter().any(|alias| alias == name);
        self.models.iter().any(is_named) || self.resolve(name).is_some()
    }

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
    /// `is_served`: whether the provider can be called.
    pub fn info(&self, is_served: bool) -> ModelInfo {
        ModelInfo {
            id: self.id.clone(),
            name: self.name.clone(),
            description: self.description.clone(),
            provider: self.provider,
            aliases: self.aliases.clone(),
            input_cost_per_million: self.input_cost_per_million,
            output_cost_per_million: self.output_cost_per_million,
            max_output_tokens: self.max_output_tokens,
            is_default: self.id == DEFAULT_MODEL,
            available: is_served && self.enabled,
        }
    }

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

/// A model for choosing one.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ModelInfo {
    pub id: String,
    pub name: String,
    pub description: String,
    /// `anthropic`, `google`, `openai`, or `program` for what a program of the installation serves.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub provider: Provider,
    pub aliases: Vec<String>,
    /// US dollars, such as `"0.25"`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub input_cost_per_million: Decimal,
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub output_cost_per_million: Decimal,
    pub max_output_tokens: u32,
    pub is_default: bool,
    /// Whether it is switched on, and there is a key for its provider: the installation's or your organisation's own;
    /// of a program's, whether the program runs.
    pub available: bool,
}

/// The size of a model, which is what a plan includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeClass {
    Small,
    Large,
}

impl SizeClass {
    pub fn of(plan: Plan) -> Self {
        match plan {
            Plan::Free => SizeClass::Small,
            Plan::Pro | Plan::Teams | Plan::Enterprise => SizeClass::Large,
        }
    }
}

/// Which model of each provider answers where nobody named one, by size.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct ModelRoutes(HashMap<Provider, Sizes>);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sizes {
    small: String,
    large: String,
}

impl ModelRoutes {
    pub const DEFAULT: &str = r#"{"anthropic":{"small":"claude-3-5-haiku-20241022","large":"claude-3-5-sonnet-20241022"},"google":{"small":"gemini-3-flash-preview","large":"gemini-3-flash-preview"},"openai":{"small":"gpt-4o-mini","large":"gpt-4o"}}"#;

    pub fn model(&self, provider: Provider, size: SizeClass) -> Option<&str> {
        self.0.get(&provider).map(|sizes| match size {
            SizeClass::Small => sizes.small.as_str(),
            SizeClass::Large => sizes.large.as_str(),
        })
    }

    /// Of the first provider that can be called.
    pub fn first(&self, size: SizeClass, is_served: impl Fn(Provider) -> bool) -> Option<&str> {
        Provider::OF_CUSTOMERS
            .into_iter()
            .filter(|provider| is_served(*provider))
            .find_map(|provider| self.model(provider, size))
    }

    /// A model that the catalogue does not have, or has of another provider.
    pub fn stranger_to(&self, catalogue: &Catalogue) -> Option<&str> {
        let fits = |provider: Provider, id: &str| {
            catalogue.models.iter().any(|entry| entry.id == id && entry.provider == provider)
        };
        let routes =
            self.0.iter().flat_map(|(provider, Sizes { small, large })| [(*provider, small), (*provider, large)]);
        routes.into_iter().find(|(provider, id)| !fits(*provider, id)).map(|(_, id)| id.as_str())
    }
}

impl FromStr for ModelRoutes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("{error}; it must have the form {}", Self::DEFAULT))
    }
}
