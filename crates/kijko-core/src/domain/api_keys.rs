//! API keys: long-lived credentials of a person in one organisation, limited to scopes.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::check::Check;
use crate::domain::ids::{ApiKeyId, OrganizationId, UserId};
use crate::domain::time::{Timestamp, millis, millis_option};
use crate::domain::vocabulary::vocabulary;
use crate::error::Result;

/// Live keys that one person may have in one organisation.
pub const MAX_LIVE_KEYS: i64 = 50;
/// What every key begins with, before the name of its environment.
pub const PREFIX: &str = "kijko_";
/// How much of a key is shown for recognising it.
const SHOWN: usize = 20;
/// 24 random bytes, in lower-case hexadecimal digits.
const DIGITS: usize = 48;

vocabulary!(
    /// What a key may do at most: `read` is GET; `write` also creates and changes; `admin` all that its creator's role
    /// allows.
    Scope { Read = "read", Write = "write", Admin = "admin" }
);

impl Scope {
    /// Whether holding this is enough where `needed` is asked for.
    pub fn covers(self, needed: Scope) -> bool {
        self as u8 >= needed as u8
    }
}

vocabulary!(
    /// Where a key is good: `live` in production, `test` elsewhere.
    KeyEnvironment { Live = "live", Test = "test" }
);

impl KeyEnvironment {
    /// That of a text in the form of a key, or None when it is no key.
    pub fn of(text: &str) -> Option<Self> {
        let (environment, digits) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let well_formed = digits.len() == DIGITS && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        Self::parse(environment).filter(|_| well_formed)
    }

    /// The text of a key.
    pub fn key(self, random: [u8; DIGITS / 2]) -> String {
        let digits = random.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        format!("{PREFIX}{}_{digits}", self.as_str())
    }
}

/// What is shown of a key.
pub fn shown_prefix(key: &str) -> &str {
    key.get(..SHOWN).unwrap_or_default()
}

/// A key as its owner sees it, never with the key itself.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    pub id: ApiKeyId,
    /// Whose it is; only in a list of everybody's keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    pub name: String,
    /// The first 20 characters.
    pub key_prefix: String,
    pub scopes: Vec<Scope>,
    #[serde(serialize_with = "millis")]
    pub created_at: DateTime<Utc>,
    /// A few seconds late.
    #[serde(serialize_with = "millis_option", skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<DateTime<Utc>>,
    /// Requests that it authenticated; a few seconds late.
    pub usage_count: i64,
    #[serde(serialize_with = "millis_option", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    pub is_expired: bool,
}

/// A key as it is looked up.
#[derive(Clone, Debug)]
pub struct KeyHolder {
    pub id: ApiKeyId,
    pub organization_id: OrganizationId,
    pub user_id: UserId,
    pub scopes: Vec<Scope>,
    pub expires_at: Option<Timestamp>,
    pub revoked: bool,
}

impl KeyHolder {
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.revoked && self.expires_at.is_none_or(|end| end > now)
    }
}

/// How often a key was used since this was last written, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    pub organization_id: OrganizationId,
    pub id: ApiKeyId,
    pub count: i64,
    pub last_used_at: Timestamp,
}

vocabulary!(Expiration { Never = "never", Days30 = "30", Days60 = "60", Days90 = "90", Custom = "custom" });

/// What creating a key sends.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = CreateApiKeyData))]
#[serde(rename_all = "camelCase")]
pub struct NewApiKey {
    /// 3 to 100 characters.
    pub name: String,
    pub expiration: Expiration,
    /// 1 to 365; required when the expiration is `custom`, ignored otherwise.
    #[serde(alias = "custom_expiration_days")]
    pub custom_expiration_days: Option<i64>,
    /// At least one, none twice. `admin` may be granted by owners and administrators.
    pub scopes: Vec<Scope>,
}

impl NewApiKey {
    /// The same with spaces trimmed, or everything that is wrong with it.
    pub fn checked(self) -> Result<Self> {
        let new = Self { name: self.name.trim().to_owned(), ..self };
        let mut check = Check::default();
        check.text("name", &new.name, 3, 100);
        check.that(!new.name.chars().any(char::is_control), "name", "format", || {
            "name must not contain control characters".into()
        });
        if new.expiration == Expiration::Custom {
            match new.custom_expiration_days {
                Some(days) => check.range("customExpirationDays", days, 1, 365),
                None => check.that(false, "customExpirationDays", "required", || {
                    "customExpirationDays is required when the expiration is custom".into()
                }),
            }
        }
        check.that(!new.scopes.is_empty(), "scopes", "length", || "scopes must have at least one entry".into());
        let distinct = new.scopes.iter().enumerate().all(|(i, scope)| !new.scopes[..i].contains(scope));
        check.that(distinct, "scopes", "unique", || "scopes must not have an entry twice".into());
        check.done()?;
        Ok(new)
    }

    /// When a key made now would end.
    pub fn expires_at(&self, now: Timestamp) -> Option<Timestamp> {
        let days = match self.expiration {
            Expiration::Never => return None,
            Expiration::Days30 => 30,
            Expiration::Days60 => 60,
            Expiration::Days90 => 90,
            Expiration::Custom => self.custom_expiration_days?,
        };
        Some(now + TimeDelta::days(days))
    }
}

/// A key right after it was made: the only time that it is shown. No `Debug`, so that it cannot be logged.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = CreatedApiKeyResponse))]
#[serde(rename_all = "camelCase")]
pub struct CreatedApiKey {
    pub id: ApiKeyId,
    pub name: String,
    /// Appears here and never again.
    pub key: String,
    pub key_prefix: String,
    pub scopes: Vec<Scope>,
    #[serde(serialize_with = "millis_option", skip_serializing_if = "Option::is_none", default)]
    pub expires_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_recognised_by_its_form_alone() {
        let key = KeyEnvironment::Test.key([0xab; 24]);
        assert_eq!((key.len(), shown_prefix(&key)), (59, "kijko_test_ababababa"));
        assert_eq!(KeyEnvironment::of(&key), Some(KeyEnvironment::Test));
        let digits = "0".repeat(48);
        assert_eq!(KeyEnvironment::of(&format!("kijko_live_{digits}")), Some(KeyEnvironment::Live));
        for bad in [
            format!("kijko_prod_{digits}"),
            format!("kijko_test_{}", &digits[1..]),
            format!("kijko_test_{digits}0"),
            format!("kijko_test_{}", "A".repeat(48)),
            format!("kijko_test_{}", "é".repeat(24)),
            format!("KIJKO_TEST_{digits}"),
            format!(" kijko_test_{digits}"),
            "kijko_test_".to_owned(),
            "kijko_".to_owned(),
        ] {
            assert_eq!(KeyEnvironment::of(&bad), None, "{bad} is no key");
        }
    }

    #[test]
    fn scopes_build_on_each_other() {
        for (held, covered) in [
            (Scope::Read, &[Scope::Read][..]),
            (Scope::Write, &[Scope::Read, Scope::Write]),
            (Scope::Admin, &[Scope::Read, Scope::Write, Scope::Admin]),
        ] {
            let covers: Vec<Scope> = Scope::ALL.iter().copied().filter(|needed| held.covers(*needed)).collect();
            assert_eq!(covers, covered, "{held:?}");
        }
    }

    fn new(name: &str, expiration: Expiration, days: Option<i64>, scopes: &[Scope]) -> NewApiKey {
        NewApiKey { name: name.into(), expiration, custom_expiration_days: days, scopes: scopes.into() }
    }

    #[test]
    fn a_new_key_is_checked_as_a_whole() {
        let fields = |new: NewApiKey| match new.checked() {
            Ok(_) => Vec::new(),
            Err(crate::Error::Invalid { violations, .. }) => violations.into_iter().map(|v| v.field).collect(),
            Err(other) => panic!("a new key fails by validation only, not with {other:?}"),
        };
        assert_eq!(fields(new(" abc ", Expiration::Never, None, &[Scope::Read])), Vec::<String>::new());
        assert_eq!(fields(new("abc", Expiration::Custom, Some(365), &[Scope::Read])), Vec::<String>::new());
        assert_eq!(fields(new("abc", Expiration::Days30, Some(0), &[Scope::Read])), Vec::<String>::new());
        assert_eq!(fields(new(" ab ", Expiration::Custom, None, &[])), ["name", "customExpirationDays", "scopes"]);
        assert_eq!(
            fields(new("a\tb", Expiration::Custom, Some(366), &[Scope::Read, Scope::Read])),
            ["name", "customExpirationDays", "scopes"]
        );
        assert_eq!(fields(new("abc", Expiration::Custom, Some(0), &[Scope::Read])), ["customExpirationDays"]);
    }
}
