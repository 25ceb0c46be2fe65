//! What all identity providers have in common: how they are called, where their endpoints and keys are, and whose
//! signature a token bears. `oauth2` speaks the protocol and `jsonwebtoken` checks signatures; `openidconnect` would do
//! both, but brings a second implementation of RSA, whose known weakness nobody has mended, and four more of what aws-lc
//! does already.

use std::sync::Arc;

use jsonwebtoken::DecodingKey;
use serde::de::DeserializeOwned;

use self::discovery::Discovery;
use self::http::Http;
use self::keys::{Insistence, Keys};
use crate::domain::time::Timestamp;
use crate::error::{AuthReason, Error, Result};

pub mod discovery;
pub mod grants;
pub mod http;
pub mod keys;
pub mod tokens;

/// Somebody who signs tokens, and what is known of them.
pub struct Issuer {
    pub http: Http,
    pub discovery: Discovery,
    pub keys: Keys,
}

impl Issuer {
    /// Asks for nothing yet.
    pub fn new(url: String) -> Result<Self> {
        Ok(Self { http: Http::new()?, discovery: Discovery::new(url), keys: Keys::default() })
    }

    /// What a token says under a signature of theirs; nothing of it has been checked. Looks for the key among those that
    /// are known; when it is not there, or does not fit, once more among newer ones.
    pub async fn signed<T: DeserializeOwned>(
        &self,
        token: &str,
        keys_url: &str,
        insistence: Insistence,
        now: Timestamp,
    ) -> Result<T> {
        let kid = tokens::key_id(token).map_err(Error::unauthenticated)?;
        let known = self.keys.any(&self.http, keys_url, now).await?;
        let mut found = try_key(token, known.get(&kid))?;
        if found.is_none() {
            let newer = self.keys.newer(&self.http, keys_url, insistence, now).await;
            found = try_key(token, newer.as_ref().and_then(|keys| keys.get(&kid)))?;
        }
        found.ok_or_else(|| Error::unauthenticated(AuthReason::Invalid))
    }
}

fn try_key<T: DeserializeOwned>(token: &str, key: Option<&Arc<DecodingKey>>) -> Result<Option<T>> {
    key.map_or(Ok(None), |key| tokens::signed(token, key)).map_err(Error::unauthenticated)
}
