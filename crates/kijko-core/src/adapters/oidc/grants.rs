//! Our registration at a provider: where its pages are for a browser, and what it gives for a code.

use std::pin::Pin;

use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AsyncHttpClient, AuthType, AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken, EndpointNotSet,
    EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope,
    StandardRevocableToken, StandardTokenResponse, TokenUrl,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::http::{self, Http, Repeat, unavailable};
use crate::error::{Code, Error, Result};
use crate::ports::oauth::{AuthorizationRequest, CodeGrant};

/// What OpenID Connect adds to RFC 6749.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Extra {
    pub id_token: Option<String>,
}

impl ExtraTokenFields for Extra {}

pub type Answer = StandardTokenResponse<Extra, BasicTokenType>;

pub type OauthClient = Client<
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

pub type Refusal = RequestTokenError<Error, BasicErrorResponse>;

/// Who we are to a provider.
pub struct Registration {
    pub client_id: String,
    pub client_secret: SecretString,
    /// How the provider wants to be told the secret.
    pub auth_type: AuthType,
}

impl Registration {
    pub fn client(&self, authorization: &str, token: &str) -> Result<OauthClient> {
        let failed = |e| Error::internal("an endpoint of an identity provider", e);
        Ok(Client::new(ClientId::new(self.client_id.clone()))
            .set_client_secret(ClientSecret::new(self.client_secret.expose_secret().to_owned()))
            .set_auth_type(self.auth_type.clone())
            .set_auth_uri(AuthUrl::new(authorization.to_owned()).map_err(failed)?)
            .set_token_uri(TokenUrl::new(token.to_owned()).map_err(failed)?))
    }
}

/// Where a browser signs in: the authorization code with PKCE, S256.
pub fn authorization_url(
    client: OauthClient,
    request: &AuthorizationRequest<'_>,
    scopes: &[&str],
    more: &[(&str, &str)],
) -> Result<String> {
    let client = client.set_redirect_uri(redirect(request.redirect_uri)?);
    let mut url = client
        .authorize_url(|| CsrfToken::new(request.state.to_owned()))
        .add_scopes(scopes.iter().map(|scope| Scope::new((*scope).to_owned())))
        .add_extra_param("code_challenge", request.code_challenge)
        .add_extra_param("code_challenge_method", "S256");
    for (name, value) in more {
        url = url.add_extra_param(*name, *value);
    }
    Ok(url.url().0.into())
}

pub async fn exchange_code(http: &Http, client: OauthClient, grant: &CodeGrant<'_>) -> Result<Answer, Refusal> {
    let redirect = redirect(grant.redirect_uri).map_err(RequestTokenError::Request)?;
    client
        .set_redirect_uri(redirect)
        .exchange_code(AuthorizationCode::new(grant.code.to_owned()))
        .set_pkce_verifier(PkceCodeVerifier::new(grant.verifier.to_owned()))
        .request_async(http)
        .await
}

fn redirect(uri: &str) -> Result<RedirectUrl> {
    RedirectUrl::new(uri.to_owned()).map_err(|e| Error::internal("a redirect URI that was allowed", e))
}

/// What a refusal means to the caller. Only "this grant is no good", in the words of the provider, is theirs and has the
/// code; anything else is ours to mend. What the provider wrote beside its word is never repeated: it may hold a token.
pub fn refused(refusal: Refusal, no_good: &[&str], code: Code) -> Error {
    match refusal {
        RequestTokenError::ServerResponse(answer) => meant(answer.error().as_ref(), no_good, code),
        RequestTokenError::Request(error) => error,
        // GitHub says no with status 200.
        RequestTokenError::Parse(_, body) => match serde_json::from_slice::<BasicErrorResponse>(&body) {
            Ok(answer) => meant(answer.error().as_ref(), no_good, code),
            Err(_) => unavailable("an answer that is no token"),
        },
        RequestTokenError::Other(_) => unavailable("an answer that is no token"),
    }
}

fn meant(error: &str, no_good: &[&str], code: Code) -> Error {
    if no_good.contains(&error) {
        return Error::Unauthenticated { code, reason: None };
    }
    tracing::error!(error, "an identity provider refuses this client: look at its client id and settings");
    unavailable(error.to_owned())
}

/// `oauth2` builds the calls and reads the answers; they travel over our own client.
impl<'c> AsyncHttpClient<'c> for Http {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(call_token_endpoint(self, request))
    }
}

/// A grant is exchanged once, so only what never arrived is sent again.
async fn call_token_endpoint(to: &Http, request: HttpRequest) -> Result<HttpResponse> {
    let failed = |e| Error::internal("building a call", e);
    let (parts, sent) = request.into_parts();
    let builder = to.client.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(sent);
    let mut response = to.send(builder, Repeat::IfUnsent).await?;
    let mut answer = oauth2::http::Response::builder().status(response.status());
    if let Some(headers) = answer.headers_mut() {
        *headers = std::mem::take(response.headers_mut());
    }
    answer.body(http::body(response).await?).map_err(failed)
}
