//! How a model is sampled.

use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::domain::check::Check;

/// How the model is sampled. Stored as given; keys are snake_case on the wire.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Parameters {
    /// 0 to 1. At run time 1 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<f64>, minimum = 0, maximum = 1))]
    pub temperature: Option<Number>,
    /// 1 to 8192. At run time 4096 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 8192))]
    pub max_tokens: Option<u32>,
    /// Above 0, to 1. Not sent to the provider when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<f64>))]
    pub top_p: Option<Number>,
    /// 1 to 500. Not sent to the provider when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// At most 5, each of 1 to 64 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_sequences: Option<Vec<String>>,
}

impl Parameters {
    pub(super) fn for_new_skill() -> Self {
        Self { temperature: Some(1.into()), max_tokens: Some(4096), ..Self::default() }
    }

    pub(crate) fn check(&self, check: &mut Check) {
        if let Some(temperature) = self.temperature.as_ref().and_then(Number::as_f64) {
            check.range("parameters.temperature", temperature, 0.0, 1.0);
        }
        if let Some(max_tokens) = self.max_tokens {
            check.range("parameters.max_tokens", max_tokens, 1, 8192);
        }
        if let Some(top_p) = self.top_p.as_ref().and_then(Number::as_f64) {
            check.that(top_p > 0.0 && top_p <= 1.0, "parameters.top_p", "range", || {
                format!("parameters.top_p must be above 0 and at most 1, not {top_p}")
            });
        }
        if let Some(top_k) = self.top_k {
            check.range("parameters.top_k", top_k, 1, 500);
        }
        let stops = self.stop_sequences.as_deref().unwrap_or_default();
        check.that(stops.len() <= 5, "parameters.stop_sequences", "length", || {
            format!("parameters.stop_sequences must have at most 5 entries, not {}", stops.len())
        });
        for (index, stop) in stops.iter().enumerate().take(5) {
            check.text(&format!("parameters.stop_sequences[{index}]"), stop, 1, 64);
        }
    }
}
