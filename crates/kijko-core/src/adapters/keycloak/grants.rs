//! What the realm gives for a code, a password or a refresh token.

use std::pin::Pin;

use async_trait::async_trait;
use oauth2::basic::{
    BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
    BasicTokenType,
};
use oauth2::{
    AsyncHttpClient, AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken, EndpointNotSet,
    EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeVerifier, RedirectUrl, RefreshToken,
    RequestTokenError, ResourceOwnerPassword, ResourceOwnerUsername, Scope, StandardRevocableToken,
    StandardTokenResponse, TokenResponse, TokenUrl,
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::Keycloak;
use super::http::{self, Repeat, unavailable};
use super::keys::Insistence;
use super::tokens::{self, Kind};
use crate::domain::accounts::NewAccount;
use crate::domain::ids::OrganizationId;
use crate::domain::realms::RealmTokens;
use crate::domain::time::Timestamp;
use crate::error::{Code, Error, Result};
use crate::ports::realms::{AuthorizationRequest, Grant, RealmClient};

const SCOPES: [&str; 3] = ["openid", "email", "profile"];

/// What Keycloak says beyond RFC 6749.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Extra {
    id_token: Option<String>,
}

impl ExtraTokenFields for Extra {}

pub(super) type Answer = StandardTokenResponse<Extra, BasicTokenType>;

type OauthClient = Client<
    BasicErrorResponse,
    Answer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

type Refusal = RequestTokenError<Error, BasicErrorResponse>;

impl Keycloak {
    pub(super) fn oauth(&self) -> Result<OauthClient> {
        let endpoints = self.discovery.endpoints();
        let failed = |e| Error::internal("an endpoint of the realm", e);
        Ok(Client::new(ClientId::new(self.rules.client_id.clone()))
            .set_client_secret(ClientSecret::new(self.client_secret.expose_secret().to_owned()))
            .set_auth_uri(AuthUrl::new(endpoints.authorization.clone()).map_err(failed)?)
            .set_token_uri(TokenUrl::new(endpoints.token.clone()).map_err(failed)?))
    }

    /// One call of the token endpoint. A grant is exchanged once, so only what never arrived is sent again.
    async fn call_token_endpoint(&self, request: HttpRequest) -> Result<HttpResponse> {
        let failed = |e| Error::internal("building a call", e);
        let (parts, sent) = request.into_parts();
        let builder = self.http.client.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(sent);
        let mut response = self.http.send(builder, Repeat::IfUnsent).await?;
        let mut answer = oauth2::http::Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            *headers = std::mem::take(response.headers_mut());
        }
        answer.body(http::body(response).await?).map_err(failed)
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

    async fn own_claims(
        &self,
        token: &str,
        kind: Kind<'_>,
        now: Timestamp,
    ) -> Result<crate::domain::realms::RealmClaims> {
        let kid = tokens::key_id(token).map_err(Error::unauthenticated)?;
        let signed = self.signed(token, &kid, Insistence::FromRealm, now).await?;
        self.rules.claims(signed, kind, now).map_err(Error::unauthenticated)
    }
}

/// `oauth2` builds the calls and reads the answers; they travel over our own client.
impl<'c> AsyncHttpClient<'c> for Keycloak {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.call_token_endpoint(request))
    }
}

/// What a refusal means to the caller. Only "this grant is no good" is theirs; anything else is ours to mend.
fn refused(refusal: Refusal, code: Code) -> Error {
    match refusal {
        RequestTokenError::ServerResponse(answer) if *answer.error() == BasicErrorResponseType::InvalidGrant => {
            Error::Unauthenticated { code, reason: None }
        }
        RequestTokenError::ServerResponse(answer) => {
            let error = answer.error().to_string();
            tracing::error!(error, "the realm refuses this client: see KEYCLOAK_CLIENT_ID and its settings");
            unavailable(error)
        }
        RequestTokenError::Request(error) => error,
        // The parser quotes what it read, and that may be a token.
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => unavailable("an answer that is no token"),
    }
}

#[async_trait]
impl RealmClient for Keycloak {
    fn authorization_url(&self, request: &AuthorizationRequest<'_>) -> Result<String> {
        let redirect = RedirectUrl::new(request.redirect_uri.to_owned())
            .map_err(|e| Error::internal("a redirect URI that was allowed", e))?;
        let client = self.oauth()?.set_redirect_uri(redirect);
        let mut url = client
            .authorize_url(|| CsrfToken::new(request.state.to_owned()))
            .add_scopes(SCOPES.map(|scope| Scope::new(scope.into())))
            .add_extra_param("nonce", request.nonce)
            .add_extra_param("code_challenge", request.code_challenge)
            .add_extra_param("code_challenge_method", "S256");
        if let Some(broker) = request.broker {
            url = url.add_extra_param("kc_idp_hint", broker);
        }
        Ok(url.url().0.into())
    }

    async fn redeem(&self, grant: Grant<'_>, now: Timestamp) -> Result<RealmTokens> {
        let client = self.oauth()?;
        match grant {
            Grant::Code { code, redirect_uri, verifier, nonce } => {
                let redirect = RedirectUrl::new(redirect_uri.to_owned())
                    .map_err(|e| Error::internal("a redirect URI that was allowed", e))?;
                let client = client.set_redirect_uri(redirect);
                let answer = client
                    .exchange_code(AuthorizationCode::new(code.to_owned()))
                    .set_pkce_verifier(PkceCodeVerifier::new(verifier.to_owned()))
                    .request_async(self)
                    .await
                    .map_err(|refusal| refused(refusal, Code::OauthCodeInvalid))?;
                self.tokens(&answer, Some(nonce), now).await
            }
            Grant::Password { email, password } => {
                let (email, password) = (email.to_owned(), password.expose_secret().to_owned());
                let (email, password) = (ResourceOwnerUsername::new(email), ResourceOwnerPassword::new(password));
                let answer = client
                    .exchange_password(&email, &password)
                    .add_scopes(SCOPES.map(|scope| Scope::new(scope.into())))
                    .request_async(self)
                    .await
                    .map_err(|refusal| refused(refusal, Code::InvalidCredentials))?;
                self.tokens(&answer, None, now).await
            }
            Grant::Refresh { token } => {
                let answer = client
                    .exchange_refresh_token(&RefreshToken::new(token.expose_secret().to_owned()))
                    .request_async(self)
                    .await
                    .map_err(|refusal| refused(refusal, Code::RefreshTokenInvalid))?;
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
