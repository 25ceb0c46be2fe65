//! Keys for model providers that an organisation brought along; its runs use them instead of ours.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::domain::check::Check;
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::models::{Endpoint, Provider};
use crate::domain::time::{Timestamp, millis};
use crate::error::Result;

/// A stored key, as far as it can be seen again.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ProviderKey {
    /// `anthropic`, `google` or `openai`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub provider: Provider,
    /// The last four characters.
    pub last_four: String,
    /// Where OpenAI's API is spoken; absent for OpenAI itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Azure's `api-version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Who stored it; absent once they are gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_by: Option<UserId>,
    #[serde(serialize_with = "millis")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub stored_at: Timestamp,
}

/// What calls are made with.
#[derive(Clone, Debug)]
pub struct SealedProviderKey {
    pub organization_id: OrganizationId,
    pub provider: Provider,
    pub sealed: Vec<u8>,
    pub endpoint: Option<Endpoint>,
}

impl SealedProviderKey {
    /// What the key is sealed for; in the place of another it does not open.
    pub fn row(&self) -> String {
        row(self.organization_id, self.provider)
    }
}

pub fn row(organization: OrganizationId, provider: Provider) -> String {
    format!("provider_keys/{organization}/{}", provider.as_str())
}

/// What a client sends to store a key.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NewProviderKey {
    /// 8 to 500 printable characters without spaces.
    #[serde(alias = "api_key")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub api_key: SecretString,
    /// For `openai` alone: where its API is spoken, with the version in the path: `https://llm.example.com/v1`.
    #[serde(alias = "base_url")]
    pub base_url: Option<String>,
    /// For Azure OpenAI alone; `baseUrl` is then the address of the resource.
    #[serde(alias = "api_version")]
    pub api_version: Option<String>,
}

impl NewProviderKey {
    /// The same with a tidy address. Refuses with `VALIDATION_ERROR`.
    pub fn checked(self, provider: Provider) -> Result<Self> {
        let mut check = Check::default();
        let key = self.api_key.expose_secret();
        check
            .that((8..=500).contains(&key.len()), "apiKey", "length", || "apiKey must have 8 to 500 characters".into());
        check.that(key.bytes().all(|byte| byte.is_ascii_graphic()), "apiKey", "format", || {
            "apiKey must be printable ASCII without spaces".into()
        });
        check.that(self.base_url.is_none() || provider == Provider::OpenAi, "baseUrl", "format", || {
            "baseUrl is for the provider openai alone".into()
        });
        let base_url = self.base_url.as_deref().map(tidy);
        check.that(base_url != Some(None), "baseUrl", "format", || {
            "baseUrl must be an http(s) address without credentials, query and fragment, of at most 500 characters"
                .into()
        });
        check.that(self.api_version.is_none() || self.base_url.is_some(), "apiVersion", "required", || {
            "apiVersion needs baseUrl, the address of the resource at Azure".into()
        });
        let is_version =
            |text: &str| (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        check.that(self.api_version.as_deref().is_none_or(is_version), "apiVersion", "format", || {
            "apiVersion must be letters, digits and hyphens, at most 40".into()
        });
        check.done()?;
        Ok(Self { base_url: base_url.flatten(), ..self })
    }

    pub fn endpoint(&self) -> Option<Endpoint> {
        let base_url = self.base_url.clone()?;
        Some(Endpoint { base_url, api_version: self.api_version.clone() })
    }

    pub fn last_four(&self) -> String {
        let key = self.api_key.expose_secret();
        key[key.len().saturating_sub(4)..].to_owned()
    }
}

fn tidy(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host() && url.fragment().is_none();
    let text = url.as_str().trim_end_matches('/').to_owned();
    (is_plain && is_web && text.len() <= 500).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use serde_json::{Value, json};

    fn check(provider: Provider, body: Value) -> Result<NewProviderKey, Vec<String>> {
        let new: NewProviderKey = serde_json::from_value(body).expect("the types are right");
        new.checked(provider).map_err(|error| match error {
            Error::Invalid { violations, .. } => violations.into_iter().map(|v| v.field).collect(),
            other => panic!("a key fails by validation only, not with {other:?}"),
        })
    }

    #[test]
    fn what_cannot_be_a_key_or_an_address_is_named() {
        let key = "sk-12345678";
        let good = check(Provider::OpenAi, json!({ "apiKey": key, "baseUrl": "https://LLM.example.com/v1/" }));
        assert_eq!(good.expect("valid").base_url.as_deref(), Some("https://llm.example.com/v1"));
        for (provider, body, field) in [
            (Provider::Google, json!({ "apiKey": "short" }), "apiKey"),
            (Provider::Google, json!({ "apiKey": "with a space in it" }), "apiKey"),
            (Provider::Google, json!({ "apiKey": "line\nbreak-in-it" }), "apiKey"),
            (Provider::Google, json!({ "apiKey": "schlüssel-1234" }), "apiKey"),
            (Provider::Google, json!({ "apiKey": key, "baseUrl": "https://example.com" }), "baseUrl"),
            (Provider::OpenAi, json!({ "apiKey": key, "baseUrl": "ftp://example.com" }), "baseUrl"),
            (Provider::OpenAi, json!({ "apiKey": key, "baseUrl": "https://u:p@example.com" }), "baseUrl"),
            (Provider::OpenAi, json!({ "apiKey": key, "baseUrl": "https://example.com?a=b" }), "baseUrl"),
            (Provider::OpenAi, json!({ "apiKey": key, "baseUrl": "https://example.com#a" }), "baseUrl"),
            (Provider::OpenAi, json!({ "apiKey": key, "baseUrl": "example.com" }), "baseUrl"),
            (Provider::OpenAi, json!({ "apiKey": key, "apiVersion": "2024-10-21" }), "apiVersion"),
        ] {
            assert_eq!(check(provider, body.clone()).expect_err("refused"), [field], "{body}");
        }
    }

    #[test]
    fn a_key_never_prints() {
        let new = check(Provider::Google, json!({ "apiKey": "AIza-very-secret" })).expect("valid");
        assert!(!format!("{new:?}").contains("very-secret"));
        assert_eq!(new.last_four(), "cret");
    }
}
