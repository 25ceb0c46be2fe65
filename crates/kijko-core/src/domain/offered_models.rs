//! Models that programs serve, which run Kijko in process.

use std::time::Duration;

use rust_decimal::Decimal;

use crate::domain::check::Check;
use crate::domain::models::{ModelInfo, ModelRoute, Provider};
use crate::domain::money::Rates;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// Between two words of a program that it lives.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(15);
/// Without a word for so long, a program is gone. It may be restarted meanwhile, and its runs wait.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Without a word for so long, its models were never there.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);

/// A model as a program offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedModel {
    /// What skills name.
    pub name: String,
    /// US dollars per million tokens.
    pub input_cost_per_million: Decimal,
    pub output_cost_per_million: Decimal,
    pub max_output_tokens: u32,
}

impl OfferedModel {
    pub fn check(&self) -> Result<()> {
        let mut check = Check::default();
        check.text("name", &self.name, 1, 100);
        check.range("maxOutputTokens", self.max_output_tokens, 1, 1_000_000);
        for (field, rate) in [
            ("inputCostPerMillion", self.input_cost_per_million),
            ("outputCostPerMillion", self.output_cost_per_million),
        ] {
            check.range(field, rate, Decimal::ZERO, Decimal::from(1_000_000));
        }
        check.done()
    }

    pub fn route(&self) -> ModelRoute {
        ModelRoute {
            provider: Provider::Program,
            model: self.name.clone(),
            rates: Rates {
                input_per_million: self.input_cost_per_million,
                output_per_million: self.output_cost_per_million,
            },
            max_output_tokens: Some(self.max_output_tokens),
            exclusive_sampling: false,
        }
    }
}

/// What any process knows of a model that a program offers.
#[derive(Clone, Debug)]
pub struct SeenModel {
    pub model: OfferedModel,
    pub seen_at: Timestamp,
}

impl SeenModel {
    pub fn is_served(&self, now: Timestamp) -> bool {
        self.seen_at >= served_since(now)
    }

    /// For choosing one.
    pub fn info(&self, now: Timestamp) -> ModelInfo {
        let available = self.is_served(now);
        let OfferedModel { name, input_cost_per_million, output_cost_per_million, max_output_tokens } =
            self.model.clone();
        ModelInfo {
            id: name.clone(),
            name,
            description: "Served by a program of this installation".into(),
            provider: Provider::Program,
            aliases: Vec::new(),
            input_cost_per_million,
            output_cost_per_million,
            max_output_tokens,
            is_default: false,
            available,
        }
    }
}

/// Programs that were last seen before this moment are gone.
pub fn served_since(now: Timestamp) -> Timestamp {
    now - PATIENCE
}
