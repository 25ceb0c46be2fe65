//! Google, which speaks OpenID Connect: who signed in stands in an ID token.

use async_trait::async_trait;
use serde::Deserialize;

use super::{no_good, registration};
use crate::adapters::oidc::Issuer;
use crate::adapters::oidc::grants::{Registration, authorization_url, exchange_code};
use crate::adapters::oidc::http::unavailable;
use crate::adapters::oidc::keys::Insistence;
use crate::adapters::oidc::tokens::{Audience, LEEWAY, MAX_NAME};
use crate::config::SocialClient;
use crate::domain::profiles::{OutsideIdentity, Profile};
use crate::domain::time::Timestamp;
use crate::error::{Code, Error, Result};
use crate::ports::oauth::{AuthorizationRequest, CodeGrant, SocialProvider};

const SCOPES: [&str; 3] = ["openid", "email", "profile"];

pub(crate) struct Google {
    registration: Registration,
    issuer: Issuer,
    issuer_url: String,
}

#[derive(Debug, Deserialize)]
struct IdToken {
    iss: String,
    #[serde(default)]
    aud: Audience,
    azp: Option<String>,
    sub: String,
    exp: i64,
    iat: Option<i64>,
    nonce: Option<String>,
    email: Option<String>,
    #[serde(default)]
    email_verified: bool,
    given_name: Option<String>,
    family_name: Option<String>,
}

impl Google {
    /// Asks for nothing yet.
    pub(crate) fn new(client: &SocialClient, issuer_url: &str) -> Result<Self> {
        let issuer = Issuer::new(issuer_url.to_owned())?;
        Ok(Self { registration: registration(client), issuer, issuer_url: issuer_url.to_owned() })
    }

    /// OpenID Connect Core, section 3.1.3.7.
    fn accepts(&self, token: &IdToken, nonce: &str, now: Timestamp) -> bool {
        let now = now.timestamp();
        let client = self.registration.client_id.as_str();
        token.iss == self.issuer_url
            && token.aud.contains(client)
            && token.azp.as_deref().is_none_or(|azp| azp == client)
            && token.nonce.as_deref() == Some(nonce)
            && token.exp.saturating_add(LEEWAY) > now
            && token.iat.is_none_or(|at| at <= now.saturating_add(LEEWAY))
            && (1..=MAX_NAME).contains(&token.sub.len())
    }
}

#[async_trait]
impl SocialProvider for Google {
    async fn authorization_url(&self, request: &AuthorizationRequest<'_>) -> Result<String> {
        let endpoints = self.issuer.discovery.find(&self.issuer.http).await?;
        let client = self.registration.client(&endpoints.authorization, &endpoints.token)?;
        authorization_url(client, request, &SCOPES, &[("nonce", request.nonce)])
    }

    async fn identify(&self, grant: &CodeGrant<'_>, now: Timestamp) -> Result<OutsideIdentity> {
        let Issuer { http, discovery, keys } = &self.issuer;
        let endpoints = discovery.find(http).await?;
        let client = self.registration.client(&endpoints.authorization, &endpoints.token)?;
        let answer = exchange_code(http, client, grant).await.map_err(no_good)?;
        let id_token = answer.extra_fields().id_token.as_deref().ok_or_else(|| unavailable("no ID token came"))?;
        keys.renew(http, &endpoints.keys, now).await;
        let signed = self.issuer.signed(id_token, &endpoints.keys, Insistence::FromIssuer, now).await;
        let token: Option<IdToken> = match signed {
            Ok(token) => Some(token).filter(|token| self.accepts(token, grant.nonce, now)),
            Err(error) if error.is_retryable() => return Err(error),
            Err(_) => None,
        };
        let Some(token) = token else {
            tracing::warn!("Google gave an ID token that is not for this sign-in");
            return Err(Error::Unauthenticated { code: Code::OauthCodeInvalid, reason: None });
        };
        Ok(OutsideIdentity {
            account_id: token.sub,
            profile: Profile {
                email: token.email,
                email_verified: token.email_verified,
                given_name: token.given_name,
                family_name: token.family_name,
            },
        })
    }
}
