//! Keycloak's admin API, with the rights of our client's service account (`manage-users` and no more).

use std::time::Duration;

use oauth2::TokenResponse;
use reqwest::{Method, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use super::Keycloak;
use crate::adapters::oidc::http::{self, Repeat, unavailable};
use crate::domain::accounts::NewAccount;
use crate::error::{Code, Error, Result};

/// An access token of the service account, used until shortly before its end.
pub(super) struct AdminToken {
    token: SecretString,
    until: Instant,
}

impl Keycloak {
    pub(super) async fn insert_user(&self, new: &NewAccount) -> Result<String> {
        let user = json!({
            "username": new.email,
            "email": new.email,
            "firstName": new.first_name,
            "lastName": new.last_name,
            "enabled": true,
            "credentials": [{ "type": "password", "value": new.password.expose_secret(), "temporary": false }],
        });
        let response = self.admin(Method::POST, &["users"], Some(&user), Repeat::IfUnsent).await?;
        match response.status() {
            StatusCode::CREATED => created(&response).ok_or_else(|| unavailable("no name for the new user")),
            StatusCode::CONFLICT => {
                Err(Error::Conflict { code: Code::EmailTaken, field: Some("email"), details: None })
            }
            // Of several at once Keycloak tells the losers no more than this.
            StatusCode::BAD_REQUEST if self.knows(&new.email).await? => {
                Err(Error::Conflict { code: Code::EmailTaken, field: Some("email"), details: None })
            }
            // The realm has rules of its own for passwords, and says them in words of its own.
            StatusCode::BAD_REQUEST => Err(Error::invalid(
                "password",
                "format",
                "the identity provider does not take this password or these names; try a longer password",
            )),
            status => Err(refused(status)),
        }
    }

    async fn knows(&self, email: &str) -> Result<bool> {
        let mut url = self.admin_url(&["users"])?;
        url.query_pairs_mut().append_pair("exact", "true").append_pair("email", email);
        let response = self.admin_at(Method::GET, url, None, Repeat::Always).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(response.status()));
        }
        let users: Vec<Value> = serde_json::from_slice(&http::body(response).await?).map_err(unavailable)?;
        Ok(!users.is_empty())
    }

    /// Replaces one attribute and leaves everything else of the user as it is.
    pub(super) async fn set_attribute(&self, subject: &str, name: &str, value: &str) -> Result<()> {
        let response = self.admin(Method::GET, &["users", subject], None, Repeat::Always).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(response.status()));
        }
        let mut user: Value = serde_json::from_slice(&http::body(response).await?).map_err(unavailable)?;
        let members = user.as_object_mut().ok_or_else(|| unavailable("a user that is no object"))?;
        let attributes = members.entry("attributes").or_insert_with(|| json!({}));
        if let Some(attributes) = attributes.as_object_mut() {
            attributes.insert(name.to_owned(), json!([value]));
        }
        let response = self.admin(Method::PUT, &["users", subject], Some(&user), Repeat::Always).await?;
        if response.status().is_success() { Ok(()) } else { Err(refused(response.status())) }
    }

    pub(super) async fn remove(&self, path: &[&str]) -> Result<()> {
        let response = self.admin(Method::DELETE, path, None, Repeat::Always).await?;
        // What is gone already is as good as removed.
        let gone = response.status().is_success() || response.status() == StatusCode::NOT_FOUND;
        if gone { Ok(()) } else { Err(refused(response.status())) }
    }

    async fn admin(&self, method: Method, path: &[&str], sent: Option<&Value>, repeat: Repeat) -> Result<Response> {
        self.admin_at(method, self.admin_url(path)?, sent, repeat).await
    }

    fn admin_url(&self, path: &[&str]) -> Result<Url> {
        let mut url = Url::parse(&self.admin_url).map_err(|e| Error::internal("KEYCLOAK_URL", e))?;
        url.path_segments_mut().map_err(|()| Error::internal("KEYCLOAK_URL", "has no path"))?.extend(path);
        Ok(url)
    }

    async fn admin_at(&self, method: Method, url: Url, sent: Option<&Value>, repeat: Repeat) -> Result<Response> {
        let mut is_second = false;
        loop {
            let token = self.admin_token(is_second).await?;
            let mut request = self.issuer.http.client.request(method.clone(), url.clone());
            request = request.bearer_auth(token.expose_secret());
            if let Some(sent) = sent {
                request = request.json(sent);
            }
            let response = self.issuer.http.send(request, repeat).await?;
            // The token may have been revoked, or its key replaced.
            if response.status() != StatusCode::UNAUTHORIZED || is_second {
                return Ok(response);
            }
            is_second = true;
        }
    }

    async fn admin_token(&self, fresh: bool) -> Result<SecretString> {
        let mut kept = self.admin_token.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| !fresh && kept.until > Instant::now()) {
            return Ok(kept.token.clone());
        }
        let client = self.oauth()?;
        let answer = client.exchange_client_credentials().request_async(&self.issuer.http).await;
        let answer = answer.map_err(|_| unavailable("the realm gives our client no token of its own"))?;
        let token: SecretString = answer.access_token().secret().as_str().into();
        let life = answer.expires_in().unwrap_or_default().saturating_sub(Duration::from_secs(30));
        *kept = Some(AdminToken { token: token.clone(), until: Instant::now() + life });
        Ok(token)
    }
}

/// The last part of the new user's address is the realm's name for them.
fn created(response: &Response) -> Option<String> {
    let location = response.headers().get(reqwest::header::LOCATION)?.to_str().ok()?;
    let name = location.rsplit('/').next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

fn refused(status: StatusCode) -> Error {
    tracing::error!(status = status.as_u16(), "the realm refuses our client: does its account have manage-users?");
    unavailable(format!("the realm answered {status}"))
}
