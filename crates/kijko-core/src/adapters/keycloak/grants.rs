//! What the realm gives for a code, a password or a refresh token.

use async_trait::async_trait;
use oauth2::{RefreshToken, ResourceOwnerPassword, ResourceOwnerUsername, Scope, TokenResponse};
use secrecy::ExposeSecret;

use super::Keycloak;
use super::tokens::Kind;
use crate::adapters::oidc::grants::{Answer, OauthClient, authorization_url, exchange_code, refused};
use crate::adapters::oidc::http::unavailable;
use crate::adapters::oidc::keys::Insistence;
use crate::domain::accounts::NewAccount;
use crate::domain::ids::OrganizationId;
use crate::domain::realms::{RealmClaims, RealmTokens};
use crate::domain::time::Timestamp;
use crate::error::{Code, Result};
use crate::ports::oauth::AuthorizationRequest;
use crate::ports::realms::{Grant, RealmClient};

const SCOPES: [&str; 3] = ["openid", "email", "profile"];
/// What Keycloak calls a code, a password or a token that it does not take.
const NO_GOOD: [&str; 1] = ["invalid_grant"];

impl Keycloak {
    pub(super) fn oauth(&self) -> Result<OauthClient> {
        let endpoints = self.endpoints();
        self.registration.client(&endpoints.authorization, &endpoints.token)
    }

    /// The realm's own tokens, verified like anybody's: they tell who signed in.
    async fn tokens(&self, answer: &Answer, nonce: Option<&str>, now: Timestamp) -> Result<RealmTokens> {
        // What the realm gives us and we cannot accept is a mistake between the two, not the caller's.
        let unfit = |what: &'static str| unavailable(format!("the realm gave {what}; see its client's settings"));
        let access_token = answer.access_token().secret();
        let claims = self.own_claims(access_token, Kind::Access, now).await;
        let claims =
            claims.map_err(|e| if e.is_retryable() { e } else { unfit("an access token that is not for us") })?;
        if let Some(nonce) = nonce {
            let id_token = answer.extra_fields().id_token.as_deref().unwrap_or_default();
            let id = self.own_claims(id_token, Kind::Id { nonce }, now).await?;
            if id.subject != claims.subject {
                return Err(unfit("tokens of two people"));
            }
        }
        Ok(RealmTokens {
            access_token: access_token.as_str().into(),
            refresh_token: answer.refresh_token().ok_or_else(|| unfit("no refresh token"))?.secret().as_str().into(),
            expires_in: answer.expires_in().map_or(0, |life| i64::try_from(life.as_secs()).unwrap_or(i64::MAX)),
            claims,
        })
    }

    async fn own_claims(&self, token: &str, kind: Kind<'_>, now: Timestamp) -> Result<RealmClaims> {
        self.check(token, kind, Insistence::FromIssuer, now).await
    }
}

#[async_trait]
impl RealmClient for Keycloak {
    fn authorization_url(&self, request: &AuthorizationRequest<'_>, broker: Option<&str>) -> Result<String> {
        let broker = broker.map(|broker| ("kc_idp_hint", broker));
        let more: Vec<_> = [("nonce", request.nonce)].into_iter().chain(broker).collect();
        authorization_url(self.oauth()?, request, &SCOPES, &more)
    }

    async fn redeem(&self, grant: Grant<'_>, now: Timestamp) -> Result<RealmTokens> {
        let client = self.oauth()?;
        match grant {
            Grant::Code(grant) => {
                let answer = exchange_code(&self.issuer.http, client, &grant).await;
                let answer = answer.map_err(|refusal| refused(refusal, &NO_GOOD, Code::OauthCodeInvalid))?;
                self.tokens(&answer, Some(grant.nonce), now).await
            }
            Grant::Password { email, password } => {
                let (email, password) = (email.to_owned(), password.expose_secret().to_owned());
                let (email, password) = (ResourceOwnerUsername::new(email), ResourceOwnerPassword::new(password));
                let answer = client
                    .exchange_password(&email, &password)
                    .add_scopes(SCOPES.map(|scope| Scope::new(scope.into())))
                    .request_async(&self.issuer.http)
                    .await
                    .map_err(|refusal| refused(refusal, &NO_GOOD, Code::InvalidCredentials))?;
                self.tokens(&answer, None, now).await
            }
            Grant::Refresh { token } => {
                let answer = client
                    .exchange_refresh_token(&RefreshToken::new(token.expose_secret().to_owned()))
                    .request_async(&self.issuer.http)
                    .await
                    .map_err(|refusal| refused(refusal, &NO_GOOD, Code::RefreshTokenInvalid))?;
                self.tokens(&answer, None, now).await
            }
        }
    }

    async fn create_user(&self, new: &NewAccount) -> Result<String> {
        self.insert_user(new).await
    }

    async fn delete_user(&self, subject: &str) -> Result<()> {
        self.remove(&["users", subject]).await
    }

    async fn set_organization(&self, subject: &str, organization: OrganizationId) -> Result<()> {
        self.set_attribute(subject, "org_id", &organization.to_string()).await
    }

    async fn end_session(&self, sid: &str) -> Result<()> {
        self.remove(&["sessions", sid]).await
    }
}
