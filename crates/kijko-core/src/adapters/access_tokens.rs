//! RS256 access tokens, signed by a key pair of this installation. No other algorithm exists here.

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use jsonwebtoken::jwk::{Jwk, KeyOperations, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use secrecy::{ExposeSecret, SecretString};

use super::sealing::{MasterKey, sha256};
use crate::domain::sessions::{AUDIENCE, Claims};
use crate::domain::time::Timestamp;
use crate::error::{AuthReason, Error, Result};
use crate::ports::identity::AccessTokens;

/// How far the clocks of our own processes may be apart, in seconds. It helps a token that is very young, never one
/// that is too old.
const LEEWAY: i64 = 30;
/// No setting makes a token live longer, in seconds.
const MAX_LIFE: i64 = 366 * 86_400;
/// Longer than any token of ours; refused before anything is decoded.
const MAX_LENGTH: usize = 8 * 1024;

pub(crate) struct JwtAccessTokens {
    /// The first one signs. Replaced as a whole, since keys are rotated while requests run.
    keys: RwLock<Arc<[Key]>>,
    validation: Validation,
    issuer: String,
    master: Arc<MasterKey>,
}

struct Key {
    kid: String,
    signing: EncodingKey,
    verifying: DecodingKey,
    jwk: Jwk,
}

impl Key {
    fn from_pem(pem: &str) -> Result<Self> {
        let failed = |e| Error::internal("reading the signing key", e);
        let signing = EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(failed)?;
        let mut jwk = Jwk::from_encoding_key(&signing, Algorithm::RS256).map_err(failed)?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(failed)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        jwk.common.key_operations = Some(vec![KeyOperations::Verify]);
        let verifying = DecodingKey::from_jwk(&jwk).map_err(failed)?;
        Ok(Self { kid, signing, verifying, jwk })
    }
}

impl JwtAccessTokens {
    /// Without keys yet.
    pub(crate) fn new(issuer: String, master: Arc<MasterKey>) -> Self {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[&issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times are compared below, with our own clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self { keys: RwLock::new(Arc::new([])), validation, issuer, master }
    }

    fn keys(&self) -> Arc<[Key]> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn claims(&self, token: &str) -> Result<Claims, AuthReason> {
        if token.len() > MAX_LENGTH {
            return Err(AuthReason::Malformed);
        }
        let header = decode_header(token).map_err(|_| AuthReason::Malformed)?;
        // Whatever else may be signed with our keys one day, an access token has this type and demands nothing special.
        let is_plain = header.crit.is_none() && header.typ.is_some_and(|typ| typ.eq_ignore_ascii_case("JWT"));
        if header.alg != Algorithm::RS256 || !is_plain {
            return Err(AuthReason::Invalid);
        }
        let keys = self.keys();
        let key = keys.iter().find(|key| header.kid.as_deref() == Some(&key.kid)).ok_or(AuthReason::Invalid)?;
        let claims: Claims = decode(token, &key.verifying, &self.validation).map_err(|_| AuthReason::Invalid)?.claims;
        Ok(claims)
    }
}

impl AccessTokens for JwtAccessTokens {
    fn issuer(&self) -> &str {
        &self.issuer
    }

    fn generate_key(&self) -> Result<SecretString> {
        let failed = |_| Error::internal("generating a signing key", "the generator refused");
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
        let der = pair.as_der().map_err(failed)?;
        Ok(pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref())).into())
    }

    fn use_keys(&self, pems: &[SecretString]) -> Result<()> {
        let keys: Arc<[Key]> = pems.iter().map(|pem| Key::from_pem(pem.expose_secret())).collect::<Result<_>>()?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    fn sign(&self, claims: &Claims) -> Result<String> {
        let keys = self.keys();
        let key = keys.first().ok_or_else(|| Error::internal("signing a token", "there is no key"))?;
        let header = Header { kid: Some(key.kid.clone()), ..Header::new(Algorithm::RS256) };
        encode(&header, claims, &key.signing).map_err(|e| Error::internal("signing a token", e))
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, AuthReason> {
        let claims = self.verify_expired(token, now)?;
        if now.timestamp() >= claims.exp {
            return Err(AuthReason::Expired);
        }
        Ok(claims)
    }

    fn verify_expired(&self, token: &str, now: Timestamp) -> Result<Claims, AuthReason> {
        let claims = self.claims(token)?;
        let not_yet = now.timestamp() < claims.nbf.max(claims.iat).saturating_sub(LEEWAY);
        let life = claims.exp.saturating_sub(claims.iat);
        if not_yet || !(0..=MAX_LIFE).contains(&life) { Err(AuthReason::Invalid) } else { Ok(claims) }
    }

    fn names_unknown_key(&self, token: &str) -> bool {
        let header = (token.len() <= MAX_LENGTH).then(|| decode_header(token).ok()).flatten();
        let kid = header.filter(|header| header.alg == Algorithm::RS256).and_then(|header| header.kid);
        kid.is_some_and(|kid| self.keys().iter().all(|key| key.kid != kid))
    }

    fn jwks(&self) -> serde_json::Value {
        let keys = self.keys();
        serde_json::json!({ "keys": keys.iter().map(|key| &key.jwk).collect::<Vec<_>>() })
    }

    fn sha256(&self, bytes: &[u8]) -> [u8; 32] {
        sha256(bytes)
    }

    fn mac(&self, purpose: &'static str, message: &[u8]) -> [u8; 32] {
        self.master.mac(purpose, message)
    }
}
