//! How much may be spent in a month: by an organisation, by one of its skills. US dollars, exact.

use chrono::NaiveDate;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::domain::ids::{OrganizationId, SkillId};
use crate::error::{Error, Result};

/// Above this, somebody has mistaken the unit.
const MOST_USD: i64 = 1_000_000;

/// What a client sends to set a budget.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct BudgetLimit {
    /// US dollars a month, as a decimal such as `"25.00"`; 0 to 1 000 000, at most 8 decimals.
    #[serde(alias = "limit_usd")]
    pub limit_usd: String,
}

impl BudgetLimit {
    /// Refuses with `VALIDATION_ERROR`.
    pub fn checked(&self) -> Result<Decimal> {
        // Not everything that the parser takes is how people write money.
        let plain = self.limit_usd.chars().all(|c| c.is_ascii_digit() || c == '.');
        let limit = Decimal::from_str_exact(&self.limit_usd).ok().filter(|_| plain);
        let limit = limit.filter(|limit| *limit <= Decimal::from(MOST_USD) && limit.normalize().scale() <= 8);
        limit.ok_or_else(|| {
            let rule = "limitUsd must be a decimal from 0 to 1000000 with at most 8 decimals, such as \"25.00\"";
            Error::invalid("limitUsd", "format", rule)
        })
    }
}

/// A budget and what is left of it this month.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// The calendar month (UTC) that the sums are of, such as `2026-01`.
    pub month: String,
    /// US dollars a month; absent when there is no budget.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "usd_option")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub limit_usd: Option<Decimal>,
    /// What runs that were asked for this month have cost.
    #[serde(serialize_with = "usd")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub spent_usd: Decimal,
    /// What is held back for runs that have not ended.
    #[serde(serialize_with = "usd")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub reserved_usd: Decimal,
    /// What is left for more runs; absent when there is no budget.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "usd_option")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub remaining_usd: Option<Decimal>,
}

impl Budget {
    pub fn new(month: NaiveDate, limit: Option<Decimal>, spent: Decimal, reserved: Decimal) -> Self {
        Self {
            month: name_of(month),
            limit_usd: limit,
            spent_usd: spent,
            reserved_usd: reserved,
            remaining_usd: limit.map(|limit| (limit - spent - reserved).max(Decimal::ZERO)),
        }
    }
}

/// A run that could cost more than is left.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetRefusal {
    /// Whose budget it is; the organisation's when absent.
    pub skill_id: Option<SkillId>,
    pub month: NaiveDate,
    pub limit: Decimal,
    /// Spent, and held back for others.
    pub used: Decimal,
    /// What the run could cost.
    pub required: Decimal,
}

impl BudgetRefusal {
    /// What the refusal tells: exact amounts, and whole cents for whoever counts in those.
    pub fn details(&self) -> serde_json::Value {
        let mut details = serde_json::json!({
            "scope": if self.skill_id.is_some() { "skill" } else { "organization" },
            "month": name_of(self.month),
            "limit": cents(self.limit),
            "used": cents(self.used),
            "limitUsd": dollars(self.limit),
            "usedUsd": dollars(self.used),
            "requiredUsd": dollars(self.required),
        });
        if let Some(skill_id) = self.skill_id {
            details["skillId"] = skill_id.to_string().into();
        }
        details
    }
}

/// A share of a budget that was reached for the first time this month.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetNotice {
    pub organization_id: OrganizationId,
    pub skill_id: Option<SkillId>,
    pub month: NaiveDate,
    pub limit: Decimal,
    pub spent: Decimal,
    /// 80, 100 or both, in this order.
    pub percents: Vec<u8>,
}

/// The shares of a budget that are worth telling about.
const SHARES: [u8; 2] = [80, 100];

impl BudgetNotice {
    /// The shares above `before`, up to `now`.
    pub fn percents(before: i16, now: i16) -> Vec<u8> {
        SHARES.into_iter().filter(|share| i16::from(*share) > before && i16::from(*share) <= now).collect()
    }
}

/// Whose budget it is, as the database names it: the organisation's own id, or that of a skill.
pub fn skill_of(organization: OrganizationId, subject: Uuid) -> Option<SkillId> {
    (subject != organization.0).then_some(SkillId(subject))
}

/// A month as people write it.
pub fn name_of(month: NaiveDate) -> String {
    month.format("%Y-%m").to_string()
}

/// An amount with the decimals that it has, and at least two.
pub fn dollars(amount: Decimal) -> String {
    let mut amount = amount.normalize();
    if amount.scale() < 2 {
        amount.rescale(2);
    }
    amount.to_string()
}

fn cents(amount: Decimal) -> i64 {
    let cents = (amount * Decimal::from(100)).round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero);
    i64::try_from(cents).unwrap_or(i64::MAX)
}

fn usd<S: Serializer>(amount: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&dollars(*amount))
}

fn usd_option<S: Serializer>(amount: &Option<Decimal>, serializer: S) -> Result<S::Ok, S::Error> {
    match amount {
        Some(amount) => usd(amount, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_decimals_of_dollars() {
        let check = |text: &str| BudgetLimit { limit_usd: text.to_owned() }.checked().ok().map(dollars);
        for (text, limit) in [
            ("25", Some("25.00")),
            ("25.5", Some("25.50")),
            ("0", Some("0.00")),
            ("0.00000001", Some("0.00000001")),
            ("1.000000000", Some("1.00")),
            ("1000000", Some("1000000.00")),
            ("1000000.01", None),
            ("0.000000001", None),
            ("-1", None),
            ("1e3", None),
            ("1_000", None),
            ("", None),
            ("a lot", None),
        ] {
            assert_eq!(check(text).as_deref(), limit, "{text:?}");
        }
    }

    #[test]
    fn what_remains_is_never_negative() {
        let month = NaiveDate::from_ymd_opt(2026, 1, 1).expect("a day");
        let remaining = |limit: Option<i64>, spent: i64, reserved: i64| {
            Budget::new(month, limit.map(Decimal::from), spent.into(), reserved.into()).remaining_usd
        };
        assert_eq!(remaining(Some(10), 3, 4), Some(3.into()));
        assert_eq!(remaining(Some(10), 8, 4), Some(Decimal::ZERO));
        assert_eq!(remaining(None, 8, 4), None);
    }

    #[test]
    fn each_share_is_told_once() {
        assert_eq!(BudgetNotice::percents(0, 80), [80]);
        assert_eq!(BudgetNotice::percents(80, 100), [100]);
        assert_eq!(BudgetNotice::percents(0, 100), [80, 100]);
        assert!(BudgetNotice::percents(80, 80).is_empty());
    }
}
