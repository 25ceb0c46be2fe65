//! Settings of the model providers: where they are, with which keys, and which models answer.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::Source;
use crate::domain::models::ModelRoutes;

#[derive(Clone, Debug)]
pub struct ModelConfig {
    pub catalogue: Option<PathBuf>,
    pub anthropic_api_key: Option<SecretString>,
    pub anthropic_base_url: String,
    pub google_api_key: Option<SecretString>,
    pub google_base_url: String,
    /// May be absent for a server of one's own.
    pub openai_api_key: Option<SecretString>,
    /// Of OpenAI, or of anybody who speaks its API.
    pub openai_base_url: Option<String>,
    /// Azure's `api-version`.
    pub openai_api_version: Option<String>,
    /// Which model answers where nobody named one.
    pub routes: ModelRoutes,
    pub plan_policy: PlanModelPolicy,
    pub connect_timeout: Duration,
    /// The longest silence of a provider that is borne.
    pub inactivity_timeout: Duration,
}

/// What becomes of a model that was named by somebody whose plan does not include its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanModelPolicy {
    /// It is called.
    Default,
    /// The small one of the same provider is called in its place, and the run says so.
    Enforce,
}

impl std::str::FromStr for PlanModelPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "default" => Ok(PlanModelPolicy::Default),
            "enforce" => Ok(PlanModelPolicy::Enforce),
            _ => Err("must be default or enforce".into()),
        }
    }
}

impl ModelConfig {
    pub(super) fn read(s: &mut Source) -> Self {
        Self {
            catalogue: s.optional("MODEL_CATALOGUE").map(PathBuf::from),
            anthropic_api_key: s.secret("ANTHROPIC_API_KEY"),
            anthropic_base_url: s.url("ANTHROPIC_BASE_URL", "https://api.anthropic.com"),
            google_api_key: s.secret("GOOGLE_API_KEY"),
            google_base_url: s.url("GOOGLE_BASE_URL", "https://generativelanguage.googleapis.com"),
            openai_api_key: s.secret("OPENAI_API_KEY"),
            openai_base_url: s.optional_url("OPENAI_BASE_URL"),
            openai_api_version: s.optional("OPENAI_API_VERSION"),
            routes: s.parsed("MODEL_ROUTES", ModelRoutes::DEFAULT),
            plan_policy: s.parsed("PLAN_MODEL_POLICY", "default"),
            connect_timeout: s.seconds("MODEL_CONNECT_TIMEOUT_SECS", "10"),
            inactivity_timeout: s.seconds("MODEL_INACTIVITY_TIMEOUT_SECS", "120"),
        }
    }

    pub(super) fn check(&self, s: &mut Source) {
        s.refuse(
            self.openai_api_version.is_some() && self.openai_base_url.is_none(),
            "OPENAI_API_VERSION",
            "needs OPENAI_BASE_URL, the address of the resource at Azure",
        );
    }
}
