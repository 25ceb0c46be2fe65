//! Where an issuer's endpoints are, as it says itself.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::http::{Http, unavailable};
use crate::error::{Error, Result};

const RETRY: Duration = Duration::from_secs(60);
const REFRESH: Duration = Duration::from_hours(24);

/// What of the discovery document is used.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Endpoints {
    pub issuer: String,
    #[serde(rename = "authorization_endpoint")]
    pub authorization: String,
    #[serde(rename = "token_endpoint")]
    pub token: String,
    #[serde(rename = "jwks_uri")]
    pub keys: String,
}

impl Endpoints {
    /// A document of another issuer, or one that sends our secret anywhere but over http(s), is not believed.
    fn check(&self, issuer: &str) -> Result<(), String> {
        if self.issuer != issuer {
            return Err(format!("the discovery document is of {:?}, not of {issuer:?}", self.issuer));
        }
        let secure = issuer.starts_with("https:");
        for url in [&self.authorization, &self.token, &self.keys] {
            let scheme = Url::parse(url).map_err(|e| format!("{url:?}: {e}"))?.scheme().to_owned();
            if scheme != "https" && (secure || scheme != "http") {
                return Err(format!("{url:?} is not to be trusted"));
            }
        }
        Ok(())
    }
}

pub struct Discovery {
    issuer: String,
    state: RwLock<State>,
}

struct State {
    endpoints: Option<Arc<Endpoints>>,
    /// When to ask again.
    due: Instant,
}

impl Discovery {
    pub fn new(issuer: String) -> Self {
        Self { issuer, state: RwLock::new(State { endpoints: None, due: Instant::now() }) }
    }

    /// None until the issuer was asked with success.
    pub fn known(&self) -> Option<Arc<Endpoints>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).endpoints.clone()
    }

    /// For an issuer that is asked when it is needed.
    pub async fn find(&self, http: &Http) -> Result<Arc<Endpoints>> {
        if self.known().is_none() || self.is_due() {
            self.renew(http).await;
        }
        self.known().ok_or_else(|| unavailable("an issuer that cannot be discovered"))
    }

    pub fn is_due(&self) -> bool {
        self.state.read().unwrap_or_else(PoisonError::into_inner).due <= Instant::now()
    }

    /// Asks the issuer once. What was known stays in use when there is no good answer.
    pub async fn renew(&self, http: &Http) {
        let asked = self.ask(http).await;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match asked {
            Ok(endpoints) => *state = State { endpoints: Some(Arc::new(endpoints)), due: Instant::now() + REFRESH },
            Err(error) => {
                state.due = Instant::now() + RETRY;
                let (issuer, error) = (&self.issuer, error.internal_text());
                tracing::warn!(issuer, error, "an issuer cannot be discovered; what was known stays in use");
            }
        }
    }

    async fn ask(&self, http: &Http) -> Result<Endpoints> {
        let url = format!("{}/.well-known/openid-configuration", self.issuer);
        let endpoints: Endpoints = http.get(&url).await?;
        endpoints.check(&self.issuer).map_err(|problem| Error::internal("discovering an issuer", problem))?;
        Ok(endpoints)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://auth.example.com/realms/kijko";

    #[test]
    fn only_the_document_of_the_issuer_itself_is_believed() {
        let path = |last: &str| format!("{ISSUER}/{last}");
        let good = Endpoints {
            issuer: ISSUER.to_owned(),
            authorization: path("auth"),
            token: path("token"),
            keys: path("certs"),
        };
        assert_eq!(good.check(ISSUER), Ok(()));
        let bad = [
            Endpoints { issuer: "https://evil.example.com/realms/kijko".into(), ..good.clone() },
            Endpoints { token: "http://auth.example.com/token".into(), ..good.clone() },
            Endpoints { keys: "file:///etc/passwd".into(), ..good.clone() },
            Endpoints { authorization: "nowhere".into(), ..good },
        ];
        for endpoints in bad {
            assert!(endpoints.check(ISSUER).is_err(), "{endpoints:?}");
        }
    }
}
