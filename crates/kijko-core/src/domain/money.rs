//! What a run costs. Exact decimals; binary floating point never touches money.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

/// US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    pub input_per_million: Decimal,
    pub output_per_million: Decimal,
}

/// Tokens as the provider reported them, summed over the attempts that reported any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.prompt_tokens = self.prompt_tokens.saturating_add(other.prompt_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(other.completion_tokens);
    }
}

/// The cost of one run: exact dollars for billing, whole cents for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// US dollars, 8 decimals.
    pub usd: Decimal,
    /// US cents, rounded half up.
    pub cents: i64,
}

impl Rates {
    pub fn cost(&self, usage: Usage) -> Cost {
        Cost::of(self.dollars(usage))
    }

    /// The exact amount, for adding up before it is rounded.
    pub fn dollars(&self, usage: Usage) -> Decimal {
        let micros = Decimal::from(usage.prompt_tokens) * self.input_per_million
            + Decimal::from(usage.completion_tokens) * self.output_per_million;
        micros / Decimal::from(1_000_000)
    }
}

/// No run costs more, whatever a provider says that it used: the row has so many digits.
const MOST_DOLLARS: Decimal = Decimal::from_parts(999_999, 0, 0, false, 0);

impl Cost {
    /// Of this many exact dollars.
    pub fn of(usd: Decimal) -> Self {
        let usd = usd.min(MOST_DOLLARS);
        let cents = (usd * Decimal::from(100)).round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero);
        Cost {
            usd: usd.round_dp_with_strategy(8, RoundingStrategy::MidpointAwayFromZero),
            cents: i64::try_from(cents).unwrap_or(i64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rates(input: &str, output: &str) -> Rates {
        Rates {
            input_per_million: input.parse().expect("a decimal"),
            output_per_million: output.parse().expect("a decimal"),
        }
    }

    #[test]
    fn costs_are_those_of_the_contract() {
        // Rates, prompt tokens, completion tokens, exact cents, rounded cents.
        let table = [
            ("3", "15", 1000, 1000, "1.8", 2),
            ("3", "15", 0, 1000, "1.5", 2),
            ("3", "15", 450, 800, "1.335", 1),
            ("3", "15", 100, 100, "0.18", 0),
            ("0.25", "1.25", 1000, 1000, "0.15", 0),
            ("0.25", "1.25", 40_000, 4_000, "1.5", 2),
            ("15", "75", 10_000, 2_000, "30", 30),
        ];
        for (input, output, prompt_tokens, completion_tokens, exact, cents) in table {
            let cost = rates(input, output).cost(Usage { prompt_tokens, completion_tokens });
            assert_eq!(cost.cents, cents, "{prompt_tokens} + {completion_tokens} tokens at {input} / {output}");
            assert_eq!(cost.usd * Decimal::from(100), exact.parse().expect("a decimal"));
        }
    }

    proptest! {
        #[test]
        fn more_tokens_never_cost_less(a in 0u64..10_000_000, b in 0u64..10_000_000, more in 0u64..1_000_000) {
            let rates = rates("0.25", "1.25");
            let less = rates.cost(Usage { prompt_tokens: a, completion_tokens: b });
            let more = rates.cost(Usage { prompt_tokens: a + more, completion_tokens: b });
            prop_assert!(more.usd >= less.usd && more.cents >= less.cents);
        }

        #[test]
        fn cents_are_the_dollars_rounded_half_up(a in 0u64..100_000_000, b in 0u64..100_000_000) {
            let cost = rates("3", "15").cost(Usage { prompt_tokens: a, completion_tokens: b });
            let exact_cents = (u128::from(a) * 3 + u128::from(b) * 15) * 100;
            let rounded = (exact_cents + 500_000) / 1_000_000;
            prop_assert_eq!(u128::try_from(cost.cents).expect("costs are not negative"), rounded);
        }
    }
}
