//! Keycloak as the identity provider: its tokens, its grants, its users.
//!
//! `oauth2` speaks the protocol and `jsonwebtoken` checks signatures; `openidconnect` would do both, but brings a second
//! implementation of RSA, whose known weakness nobody has mended, and four more of what aws-lc does already.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use self::discovery::Discovery;
use self::http::Http;
use self::keys::{Insistence, Keys};
use self::tokens::{Kind, Rules, Signed};
use crate::config::KeycloakConfig;
use crate::domain::realms::RealmClaims;
use crate::domain::time::Timestamp;
use crate::error::{AuthReason, Error, Result};
use crate::ports::clock::Clock;
use crate::ports::realms::{RealmHealth, RealmTokenVerifier};

mod admin;
mod discovery;
mod grants;
mod http;
mod keys;
mod tokens;

/// How long an answer about its health is worth repeating: readiness is asked for by many, and by anybody.
const HEALTH_LIFE: Duration = Duration::from_secs(5);
const HEALTH_LIMIT: Duration = Duration::from_millis(1500);

pub(crate) struct Keycloak {
    http: Http,
    discovery: Discovery,
    keys: Keys,
    rules: Rules,
    client_secret: SecretString,
    realm_url: String,
    admin_url: String,
    admin_token: Mutex<Option<admin::AdminToken>>,
    seen: Mutex<Option<(Instant, bool)>>,
}

impl Keycloak {
    /// Asks for nothing yet; the realm is got to know in the background, for as long as somebody holds it.
    pub(crate) fn connect(config: &KeycloakConfig, secret: SecretString, clock: Arc<dyn Clock>) -> Result<Arc<Self>> {
        let realm_url = format!("{}/realms/{}", config.url, config.realm);
        let keycloak = Arc::new(Self {
            http: Http::new()?,
            discovery: Discovery::new(realm_url.clone()),
            keys: Keys::default(),
            rules: Rules {
                issuer: realm_url.clone(),
                client_id: config.client_id.clone(),
                admin_role: config.admin_role.clone(),
            },
            client_secret: secret,
            realm_url,
            admin_url: format!("{}/admin/realms/{}", config.url, config.realm),
            admin_token: Mutex::default(),
            seen: Mutex::default(),
        });
        tokio::spawn(get_to_know(Arc::downgrade(&keycloak), clock));
        Ok(keycloak)
    }

    /// The claims of a token that a stranger brought.
    async fn check(&self, token: &str, now: Timestamp) -> Result<RealmClaims> {
        let kid = tokens::key_id(token).map_err(Error::unauthenticated)?;
        let signed = self.signed(token, &kid, Insistence::Stranger, now).await?;
        self.rules.claims(signed, Kind::Access, now).map_err(Error::unauthenticated)
    }

    /// Looks for the key among those that are known; when it is not there, or does not fit, once more among newer ones.
    async fn signed(&self, token: &str, kid: &str, insistence: Insistence, now: Timestamp) -> Result<Signed> {
        let url = &self.discovery.endpoints().keys;
        let known = self.keys.any(&self.http, url, now).await?;
        let mut found = self.try_key(token, known.get(kid))?;
        if found.is_none() {
            let newer = self.keys.newer(&self.http, url, insistence, now).await;
            found = self.try_key(token, newer.as_ref().and_then(|keys| keys.get(kid)))?;
        }
        found.ok_or_else(|| Error::unauthenticated(AuthReason::Invalid))
    }

    fn try_key(&self, token: &str, key: Option<&Arc<jsonwebtoken::DecodingKey>>) -> Result<Option<Signed>> {
        key.map_or(Ok(None), |key| self.rules.signed(token, key)).map_err(Error::unauthenticated)
    }
}

/// Discovers the realm and fetches its keys, first at once and then when they are due.
async fn get_to_know(keycloak: Weak<Keycloak>, clock: Arc<dyn Clock>) {
    let mut discover_at = Instant::now();
    loop {
        let Some(keycloak) = keycloak.upgrade() else { return };
        if discover_at <= Instant::now() {
            discover_at = Instant::now() + keycloak.discovery.renew(&keycloak.http).await;
        }
        keycloak.keys.renew(&keycloak.http, &keycloak.discovery.endpoints().keys, clock.now()).await;
        drop(keycloak);
        // Keys that grow old are noticed soon, and an `App` that is gone too.
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
}

#[async_trait]
impl RealmTokenVerifier for Keycloak {
    async fn verify(&self, token: &str, now: Timestamp) -> Result<RealmClaims> {
        let claims = self.check(token, now).await?;
        if claims.expires_at <= now {
            return Err(Error::unauthenticated(AuthReason::Expired));
        }
        Ok(claims)
    }

    async fn verify_expired(&self, token: &str, now: Timestamp) -> Result<RealmClaims> {
        self.check(token, now).await
    }

    async fn health(&self) -> RealmHealth {
        let keys_cached = self.keys.current().is_some();
        let mut seen = self.seen.lock().await;
        let reachable = match *seen {
            Some((at, reachable)) if at.elapsed() < HEALTH_LIFE => reachable,
            _ => {
                let asked = timeout(HEALTH_LIMIT, self.http.client.get(&self.realm_url).send()).await;
                let reachable = asked.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status().is_success()));
                *seen = Some((Instant::now(), reachable));
                reachable
            }
        };
        RealmHealth { reachable, keys_cached }
    }
}
