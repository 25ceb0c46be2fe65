//! Keycloak as the identity provider: its tokens, its grants, its users.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use oauth2::AuthType;
use secrecy::SecretString;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use self::tokens::{Kind, RawClaims, Rules};
use crate::adapters::oidc::Issuer;
use crate::adapters::oidc::discovery::Endpoints;
use crate::adapters::oidc::grants::Registration;
use crate::adapters::oidc::keys::Insistence;
use crate::config::KeycloakConfig;
use crate::domain::realms::RealmClaims;
use crate::domain::time::Timestamp;
use crate::error::{AuthReason, Error, Result};
use crate::ports::clock::Clock;
use crate::ports::realms::{RealmHealth, RealmTokenVerifier};

mod admin;
mod grants;
mod tokens;

/// How long an answer about its health is worth repeating: readiness is asked for by many, and by anybody.
const HEALTH_LIFE: Duration = Duration::from_secs(5);
const HEALTH_LIMIT: Duration = Duration::from_millis(1500);

pub(crate) struct Keycloak {
    issuer: Issuer,
    registration: Registration,
    rules: Rules,
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
            issuer: Issuer::new(realm_url.clone())?,
            registration: Registration {
                client_id: config.client_id.clone(),
                client_secret: secret,
                auth_type: AuthType::BasicAuth,
            },
            rules: Rules {
                issuer: realm_url.clone(),
                client_id: config.client_id.clone(),
                admin_role: config.admin_role.clone(),
            },
            realm_url,
            admin_url: format!("{}/admin/realms/{}", config.url, config.realm),
            admin_token: Mutex::default(),
            seen: Mutex::default(),
        });
        tokio::spawn(get_to_know(Arc::downgrade(&keycloak), clock));
        Ok(keycloak)
    }

    /// As the realm says, or Keycloak's fixed paths while it cannot be asked.
    fn endpoints(&self) -> Arc<Endpoints> {
        let path = |last: &str| format!("{}/protocol/openid-connect/{last}", self.realm_url);
        self.issuer.discovery.known().unwrap_or_else(|| {
            let (authorization, token, keys) = (path("auth"), path("token"), path("certs"));
            Arc::new(Endpoints { issuer: self.realm_url.clone(), authorization, token, keys })
        })
    }

    /// The claims of a token that a stranger brought, or the realm itself.
    async fn check(&self, token: &str, kind: Kind<'_>, insistence: Insistence, now: Timestamp) -> Result<RealmClaims> {
        let claims: RawClaims = self.issuer.signed(token, &self.endpoints().keys, insistence, now).await?;
        self.rules.claims(claims, kind, now).map_err(Error::unauthenticated)
    }
}

/// Discovers the realm and fetches its keys, first at once and then when they are due.
async fn get_to_know(keycloak: Weak<Keycloak>, clock: Arc<dyn Clock>) {
    loop {
        let Some(keycloak) = keycloak.upgrade() else { return };
        let Issuer { http, discovery, keys } = &keycloak.issuer;
        if discovery.is_due() {
            discovery.renew(http).await;
        }
        keys.renew(http, &keycloak.endpoints().keys, clock.now()).await;
        drop(keycloak);
        // Keys that grow old are noticed soon, and an `App` that is gone too.
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
}

#[async_trait]
impl RealmTokenVerifier for Keycloak {
    async fn verify(&self, token: &str, now: Timestamp) -> Result<RealmClaims> {
        let claims = self.verify_expired(token, now).await?;
        if claims.expires_at <= now {
            return Err(Error::unauthenticated(AuthReason::Expired));
        }
        Ok(claims)
    }

    async fn verify_expired(&self, token: &str, now: Timestamp) -> Result<RealmClaims> {
        self.check(token, Kind::Access, Insistence::Stranger, now).await
    }

    async fn health(&self) -> RealmHealth {
        let keys_cached = self.issuer.keys.current().is_some();
        let mut seen = self.seen.lock().await;
        let reachable = match *seen {
            Some((at, reachable)) if at.elapsed() < HEALTH_LIFE => reachable,
            _ => {
                let asked = timeout(HEALTH_LIMIT, self.issuer.http.client.get(&self.realm_url).send()).await;
                let reachable = asked.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status().is_success()));
                *seen = Some((Instant::now(), reachable));
                reachable
            }
        };
        RealmHealth { reachable, keys_cached }
    }
}
