//! Where the realm's endpoints are: as it says itself, or at Keycloak's fixed paths while it cannot be asked.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::http::Http;
use crate::error::{Error, Result};

const RETRY: Duration = Duration::from_secs(60);
const REFRESH: Duration = Duration::from_hours(24);

/// What of the discovery document is used.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Endpoints {
    issuer: String,
    #[serde(rename = "authorization_endpoint")]
    pub authorization: String,
    #[serde(rename = "token_endpoint")]
    pub token: String,
    #[serde(rename = "jwks_uri")]
    pub keys: String,
}

impl Endpoints {
    pub(super) fn fixed(realm_url: &str) -> Self {
        let path = |last: &str| format!("{realm_url}/protocol/openid-connect/{last}");
        Self { issuer: realm_url.to_owned(), authorization: path("auth"), token: path("token"), keys: path("certs") }
    }

    /// A document of another issuer, or one that sends our secret anywhere but over http(s), is not believed.
    fn check(&self, realm_url: &str) -> Result<(), String> {
        if self.issuer != realm_url {
            return Err(format!("the discovery document is of {:?}, not of {realm_url:?}", self.issuer));
        }
        let secure = realm_url.starts_with("https:");
        for url in [&self.authorization, &self.token, &self.keys] {
            let scheme = Url::parse(url).map_err(|e| format!("{url:?}: {e}"))?.scheme().to_owned();
            if scheme != "https" && (secure || scheme != "http") {
                return Err(format!("{url:?} is not to be trusted"));
            }
        }
        Ok(())
    }
}

pub(super) struct Discovery {
    realm_url: String,
    endpoints: RwLock<Arc<Endpoints>>,
}

impl Discovery {
    pub(super) fn new(realm_url: String) -> Self {
        let endpoints = RwLock::new(Arc::new(Endpoints::fixed(&realm_url)));
        Self { realm_url, endpoints }
    }

    pub(super) fn endpoints(&self) -> Arc<Endpoints> {
        self.endpoints.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the realm once. Says when to ask again.
    pub(super) async fn renew(&self, http: &Http) -> Duration {
        match self.ask(http).await {
            Ok(endpoints) => {
                *self.endpoints.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(endpoints);
                REFRESH
            }
            Err(error) => {
                let error = error.internal_text();
                tracing::warn!(error, "the realm cannot be discovered; its last known endpoints stay in use");
                RETRY
            }
        }
    }

    async fn ask(&self, http: &Http) -> Result<Endpoints> {
        let url = format!("{}/.well-known/openid-configuration", self.realm_url);
        let endpoints: Endpoints = http.get(&url).await?;
        endpoints.check(&self.realm_url).map_err(|problem| Error::internal("discovering the realm", problem))?;
        Ok(endpoints)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REALM: &str = "https://auth.example.com/realms/kijko";

    #[test]
    fn only_the_document_of_the_realm_itself_is_believed() {
        let good = Endpoints::fixed(REALM);
        assert_eq!(good.check(REALM), Ok(()));
        let bad = [
            Endpoints { issuer: "https://evil.example.com/realms/kijko".into(), ..good.clone() },
            Endpoints { token: "http://auth.example.com/token".into(), ..good.clone() },
            Endpoints { keys: "file:///etc/passwd".into(), ..good.clone() },
            Endpoints { authorization: "nowhere".into(), ..good },
        ];
        for endpoints in bad {
            assert!(endpoints.check(REALM).is_err(), "{endpoints:?}");
        }
    }
}
