//! An issuer's public keys, remembered. What was fetched once stays in use until there is something newer; keys that
//! nobody has heard of are asked for, but not often enough to be of use to somebody who makes them up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use chrono::TimeDelta;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use tokio::sync::Mutex;

use super::http::Http;
use crate::domain::time::Timestamp;
use crate::error::Result;

const LIFE: TimeDelta = TimeDelta::seconds(3600);
const BETWEEN_FORCED: TimeDelta = TimeDelta::seconds(10);
const MAX_KEYS: usize = 100;

pub type KeySet = HashMap<String, Arc<DecodingKey>>;

#[derive(Default)]
pub struct Keys {
    /// None until the first fetch that succeeded.
    known: RwLock<Option<Known>>,
    /// Held while fetching: one at a time.
    fetching: Mutex<Option<Forced>>,
    /// Counts fetches that have ended, well or not.
    fetches: AtomicU64,
}

#[derive(Clone)]
struct Known {
    keys: Arc<KeySet>,
    fetched_at: Timestamp,
}

/// When somebody last insisted on a fetch.
struct Forced {
    at: Timestamp,
}

/// Why keys are asked for although there are some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insistence {
    /// A token that anybody may have made up.
    Stranger,
    /// A token that the issuer itself has just handed us.
    FromIssuer,
}

impl Keys {
    pub fn current(&self) -> Option<Arc<KeySet>> {
        self.known().map(|known| known.keys)
    }

    /// True at most once per life of the keys, for whoever then renews them.
    pub fn are_old(&self, now: Timestamp) -> bool {
        self.known().is_some_and(|known| (now - known.fetched_at).abs() >= LIFE)
    }

    /// The keys, if there are any; who comes while they are fetched for the first time waits for them.
    pub async fn any(&self, http: &Http, url: &str, now: Timestamp) -> Result<Arc<KeySet>> {
        if let Some(keys) = self.current() {
            return Ok(keys);
        }
        let before = self.fetches.load(Ordering::Acquire);
        let _fetching = self.fetching.lock().await;
        match self.current() {
            Some(keys) => Ok(keys),
            None if self.fetches.load(Ordering::Acquire) > before => Err(super::http::unavailable("no keys yet")),
            None => self.fetch(http, url, now).await,
        }
    }

    /// Whatever is newer than what the caller has seen: fetched now, or by somebody else while the caller waited.
    /// None when there is nothing newer, and it is too early to ask again.
    pub async fn newer(&self, http: &Http, url: &str, insistence: Insistence, now: Timestamp) -> Option<Arc<KeySet>> {
        let before = self.fetches.load(Ordering::Acquire);
        let mut forced = self.fetching.lock().await;
        if self.fetches.load(Ordering::Acquire) > before {
            return self.current();
        }
        let too_early = forced.as_ref().is_some_and(|last| (now - last.at).abs() < BETWEEN_FORCED);
        if too_early && insistence == Insistence::Stranger {
            return None;
        }
        *forced = Some(Forced { at: now });
        // What went wrong is in the log; the old keys stay.
        self.fetch(http, url, now).await.ok()
    }

    /// Replaces keys that are old. Who comes second does nothing.
    pub async fn renew(&self, http: &Http, url: &str, now: Timestamp) {
        if let Ok(_fetching) = self.fetching.try_lock()
            && (self.current().is_none() || self.are_old(now))
        {
            self.fetch(http, url, now).await.ok();
        }
    }

    async fn fetch(&self, http: &Http, url: &str, now: Timestamp) -> Result<Arc<KeySet>> {
        let fetched = http.get::<JwkSet>(url).await;
        let result = fetched.map(|set| {
            let keys = Arc::new(usable(set));
            *self.known.write().unwrap_or_else(PoisonError::into_inner) =
                Some(Known { keys: keys.clone(), fetched_at: now });
            keys
        });
        if let Err(error) = &result {
            let error = error.internal_text();
            tracing::warn!(error, "an issuer's keys cannot be fetched; those that are known stay in use");
        }
        self.fetches.fetch_add(1, Ordering::AcqRel);
        result
    }

    fn known(&self) -> Option<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// RSA keys that sign; no others verify anything here.
fn usable(set: JwkSet) -> KeySet {
    let signs = |jwk: &Jwk| {
        matches!(jwk.algorithm, AlgorithmParameters::RSA(_))
            && jwk.common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature)
            && jwk.common.key_algorithm.is_none_or(|algorithm| algorithm == KeyAlgorithm::RS256)
    };
    let keys = set.keys.into_iter().filter(signs).take(MAX_KEYS);
    keys.filter_map(|jwk| {
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some((jwk.common.key_id?, Arc::new(key)))
    })
    .collect()
}
