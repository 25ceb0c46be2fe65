//! GitHub, which speaks OAuth 2 and says who signed in through its REST interface.

use async_trait::async_trait;
use oauth2::TokenResponse as _;
use reqwest::header::{ACCEPT, HeaderName, USER_AGENT};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{no_good, registration};
use crate::adapters::oidc::grants::{OauthClient, Registration, authorization_url, exchange_code};
use crate::adapters::oidc::http::Http;
use crate::config::SocialClient;
use crate::domain::profiles::{OutsideIdentity, Profile};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ports::oauth::{AuthorizationRequest, CodeGrant, SocialProvider};

const SCOPES: [&str; 2] = ["read:user", "user:email"];
const API_VERSION: (HeaderName, &str) = (HeaderName::from_static("x-github-api-version"), "2022-11-28");

pub(crate) struct GitHub {
    registration: Registration,
    http: Http,
    url: String,
    api_url: String,
}

#[derive(Deserialize)]
struct User {
    /// Stays when the login is changed, and given to somebody else.
    id: u64,
    login: String,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Email {
    email: String,
    primary: bool,
    verified: bool,
}

impl GitHub {
    pub(crate) fn new(client: &SocialClient, url: &str, api_url: &str) -> Result<Self> {
        let (url, api_url) = (url.to_owned(), api_url.to_owned());
        Ok(Self { registration: registration(client), http: Http::new()?, url, api_url })
    }

    fn oauth(&self) -> Result<OauthClient> {
        let path = |last: &str| format!("{}/login/oauth/{last}", self.url);
        self.registration.client(&path("authorize"), &path("access_token"))
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str, token: &str) -> Result<T> {
        let request = self.http.client.get(format!("{}{path}", self.api_url)).bearer_auth(token);
        let request = request.header(ACCEPT, "application/vnd.github+json").header(USER_AGENT, "kijko");
        self.http.ask(request.header(API_VERSION.0, API_VERSION.1)).await
    }
}

#[async_trait]
impl SocialProvider for GitHub {
    async fn authorization_url(&self, request: &AuthorizationRequest<'_>) -> Result<String> {
        authorization_url(self.oauth()?, request, &SCOPES, &[])
    }

    async fn identify(&self, grant: &CodeGrant<'_>, _now: Timestamp) -> Result<OutsideIdentity> {
        let answer = exchange_code(&self.http, self.oauth()?, grant).await.map_err(no_good)?;
        let token = answer.access_token().secret();
        let (user, emails) = futures_util::future::try_join(
            self.ask::<User>("/user", token),
            self.ask::<Vec<Email>>("/user/emails?per_page=100", token),
        )
        .await?;
        let primary = emails.into_iter().find(|email| email.primary);
        Ok(OutsideIdentity {
            account_id: user.id.to_string(),
            profile: Profile {
                email_verified: primary.as_ref().is_some_and(|email| email.verified),
                email: primary.map(|email| email.email),
                ..names(user.name, user.login)
            },
        })
    }
}

/// GitHub has one name for people, if any.
fn names(name: Option<String>, login: String) -> Profile {
    let name = name.filter(|name| !name.trim().is_empty()).unwrap_or(login);
    let (given, family) = name.trim().split_once(' ').unwrap_or((&name, ""));
    Profile { given_name: Some(given.to_owned()), family_name: Some(family.to_owned()), ..Profile::default() }
}
