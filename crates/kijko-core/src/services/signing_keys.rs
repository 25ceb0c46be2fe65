//! The keys that sign access tokens, and their rotation while requests run: a new key signs, the one before it goes on
//! verifying until the last token that it signed has expired. Nobody is signed out, no process is restarted.
//!
//! Keys come from the settings, where whoever runs the installation rotates them, or else from the database.

use std::sync::Weak;
use std::time::Duration;

use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tokio::sync::{Mutex, broadcast};
use tokio::time::Instant;

use crate::app::{App, Ports};
use crate::config::IdentityConfig;
use crate::domain::events::Event;
use crate::domain::ids::SigningKeyId;
use crate::domain::sessions::Claims;
use crate::domain::time::{Timestamp, millis, millis_option};
use crate::error::{AuthReason, Code, Error, Result};
use crate::ports::clock::{Clock, Random};
use crate::ports::events::Heard;
use crate::ports::identity::{AccessTokens, StoredSigningKey};
use crate::ports::secrets::Secrets;
use crate::ports::{Store, SystemTask};
use crate::services::identity::Operator;

/// Between two looks at the keys, should an announcement be lost, and for letting go of those that ended.
const RELOAD_INTERVAL: Duration = Duration::from_secs(60);
/// Tokens with unknown keys make us look at most this often.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// A process that did not hear of a rotation may sign with the old key until it looks by itself.
const MARGIN: TimeDelta = TimeDelta::seconds(120);

/// What the keys are read with, before there is an `App`.
pub(crate) struct Keyring<'a> {
    pub config: &'a IdentityConfig,
    pub store: &'a dyn Store,
    pub secrets: &'a dyn Secrets,
    pub tokens: &'a dyn AccessTokens,
    pub clock: &'a dyn Clock,
    pub random: &'a dyn Random,
}

impl Keyring<'_> {
    /// In PEM, the one that signs first; made on the first start. None when one does not open with our master key.
    pub(crate) async fn load(&self) -> Result<Option<Vec<SecretString>>> {
        if let Some(key) = &self.config.signing_key {
            return Ok(Some(
                [Some(key), self.config.signing_key_previous.as_ref()].into_iter().flatten().cloned().collect(),
            ));
        }
        let now = self.clock.now();
        let mut tx = self.store.system(SystemTask::LoadSigningKeys).await?;
        let mut stored = tx.signing_keys().published(now).await?;
        drop(tx);
        if stored.first().is_none_or(|key| key.published_until.is_some()) {
            let key = self.make()?;
            let mut tx = self.store.system(SystemTask::LoadSigningKeys).await?;
            // Should another process have been first, its key is the one.
            tx.signing_keys().insert(&key, None, now).await?;
            stored = tx.signing_keys().published(now).await?;
            tx.commit().await?;
        }
        Ok(stored.iter().map(|key| self.open(key)).collect())
    }

    fn make(&self) -> Result<StoredSigningKey> {
        let id = SigningKeyId(self.random.uuid());
        let pem = self.tokens.generate_key()?;
        let encrypted = self.secrets.seal(pem.expose_secret().as_bytes(), &row(id))?;
        Ok(StoredSigningKey { id, encrypted, published_until: None })
    }

    fn open(&self, key: &StoredSigningKey) -> Option<SecretString> {
        let pem = self.secrets.open(&key.encrypted, &row(key.id))?;
        String::from_utf8(pem).ok().map(SecretString::from)
    }
}

/// What a sealed key is bound to.
fn row(id: SigningKeyId) -> String {
    format!("signing_keys/{id}")
}

fn keyring(app: &App) -> Keyring<'_> {
    Keyring {
        config: &app.config.identity,
        store: &*app.store,
        secrets: &*app.secrets,
        tokens: &*app.tokens,
        clock: &*app.clock,
        random: &*app.random,
    }
}

/// What a rotation did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotated {
    /// The one that signs from now on.
    pub key_id: SigningKeyId,
    #[serde(serialize_with = "millis")]
    pub rotated_at: Timestamp,
    /// Until when the one before it still verifies; absent when it was ended at once.
    #[serde(serialize_with = "millis_option", skip_serializing_if = "Option::is_none")]
    pub previous_verifies_until: Option<Timestamp>,
}

/// Signs with a new key from now on, in every process. With `at_once` tokens of all earlier keys are refused, for when
/// one of them may be known to somebody; people get new ones by refreshing.
/// Refuses with `CONFLICT` while the last rotation is under way, and with `VALIDATION_ERROR` when the keys are settings.
pub async fn rotate(app: &App, operator: &Operator, at_once: bool) -> Result<Rotated> {
    if app.config.identity.signing_key.is_some() {
        let rule = "JWT_SIGNING_KEY is set: move it to JWT_SIGNING_KEY_PREVIOUS, set a new one, and restart";
        return Err(Error::invalid("JWT_SIGNING_KEY", "format", rule));
    }
    let key = keyring(app).make()?;
    let now = app.clock.now();
    let ttl = TimeDelta::from_std(app.config.identity.access_token_ttl).unwrap_or(TimeDelta::MAX);
    let until = if at_once { now } else { now + ttl + MARGIN };
    let mut tx = app.store.system(SystemTask::RotateSigningKeys).await?;
    let published = tx.signing_keys().published(now).await?;
    // Two keys may be published, no more.
    if let Some(end) = published.iter().filter_map(|key| key.published_until).max().filter(|_| !at_once) {
        let details = serde_json::json!({ "previousKeyVerifiesUntil": end });
        return Err(Error::Conflict { code: Code::Conflict, field: None, details: Some(details) });
    }
    tx.signing_keys().retire(now, until).await?;
    tx.signing_keys().delete_unpublished(now).await?;
    if !tx.signing_keys().insert(&key, Some(&operator.to_string()), now).await? {
        return Err(Error::conflict(Code::Conflict));
    }
    tx.announce(&Event::SigningKeysChanged).await?;
    tx.commit().await?;
    tracing::warn!(key_id = %key.id, at_once, %operator, "the signing key was rotated");
    reload(app).await?;
    Ok(Rotated { key_id: key.id, rotated_at: now, previous_verifies_until: Some(until).filter(|_| !at_once) })
}

/// Verifies an access token. One that names a key we do not know makes us look whether there is a new one.
pub(crate) async fn verify(app: &App, token: &str, now: Timestamp) -> Result<Claims> {
    match app.tokens.verify(token, now) {
        Err(AuthReason::Invalid) if app.tokens.names_unknown_key(token) => {
            look(app).await?;
            app.tokens.verify(token, now).map_err(Error::unauthenticated)
        }
        verified => verified.map_err(Error::unauthenticated),
    }
}

/// When somebody last looked because of a token.
#[derive(Default)]
pub struct LastLook(Mutex<Option<Instant>>);

/// However many ask, one looks, and not again for a while: anybody can make up a token.
async fn look(app: &App) -> Result<()> {
    let mut last = app.last_look_at_keys.0.lock().await;
    if last.is_some_and(|last| last.elapsed() < LOOK_INTERVAL) {
        return Ok(());
    }
    *last = Some(Instant::now());
    reload(app).await
}

async fn reload(app: &App) -> Result<()> {
    let unreadable = || Error::internal("reading the signing keys", "one does not open with this ENCRYPTION_KEY");
    let pems = keyring(app).load().await?.ok_or_else(unreadable)?;
    app.tokens.use_keys(&pems)?;
    Ok(())
}

/// Takes up what another process rotated, for as long as this one lives.
pub(crate) async fn follow(ports: Weak<Ports>, mut heard: broadcast::Receiver<Heard>) {
    let mut interval = tokio::time::interval(RELOAD_INTERVAL);
    interval.tick().await;
    loop {
        let changed = tokio::select! {
            message = heard.recv() => match message {
                Ok(Heard::Event(Event::SigningKeysChanged)) => true,
                Ok(Heard::Event(_)) => continue,
                Ok(Heard::Lost) | Err(broadcast::error::RecvError::Lagged(_)) => false,
                Err(broadcast::error::RecvError::Closed) => return,
            },
            _ = interval.tick() => false,
        };
        let Some(app) = App::from_weak(&ports) else { return };
        if let Err(error) = reload(&app).await {
            tracing::warn!(error = error.internal_text(), "the signing keys could not be read; trying again");
            interval.reset_after(Duration::from_secs(1));
        }
        if changed {
            // Who was known by a token of a key that was ended at once is known no more.
            app.identities.forget_all();
        }
    }
}
