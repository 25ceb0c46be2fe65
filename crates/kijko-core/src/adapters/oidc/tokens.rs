//! What every token must be like, whoever issued it. RS256 only: the algorithm is ours to choose, never the token's.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::AuthReason;

/// How far an issuer's clock and ours may be apart, in seconds.
pub const LEEWAY: i64 = 30;
/// Longest name of a person or a sign-in that is stored.
pub const MAX_NAME: usize = 255;
/// Longer than any token that fits into a header; refused before anything is decoded.
const MAX_LENGTH: usize = 8 * 1024;

/// One audience, or several.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    #[default]
    None,
    One(String),
    Many(Vec<String>),
}

impl Audience {
    pub fn contains(&self, client: &str) -> bool {
        match self {
            Audience::None => false,
            Audience::One(one) => one == client,
            Audience::Many(many) => many.iter().any(|one| one == client),
        }
    }
}

/// Which key the token says it was signed with.
pub fn key_id(token: &str) -> Result<String, AuthReason> {
    if token.len() > MAX_LENGTH {
        return Err(AuthReason::Malformed);
    }
    let header = decode_header(token).map_err(|_| AuthReason::Malformed)?;
    // RFC 9068 gives access tokens a type of their own; Keycloak uses it only if told to.
    let is_token = header.typ.is_some_and(|typ| ["jwt", "at+jwt"].iter().any(|known| typ.eq_ignore_ascii_case(known)));
    let kid = header.kid.filter(|_| header.alg == Algorithm::RS256 && header.crit.is_none() && is_token);
    kid.ok_or(AuthReason::Invalid)
}

/// None when the signature is not that of the key: the key may be an old one of the same name.
pub fn signed<T: DeserializeOwned>(token: &str, key: &DecodingKey) -> Result<Option<T>, AuthReason> {
    let mut validation = Validation::new(Algorithm::RS256);
    // What the claims must say is decided by whoever knows the issuer: times by our own clock, and `azp` beside `aud`.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    match decode::<T>(token, key, &validation) {
        Ok(decoded) => Ok(Some(decoded.claims)),
        Err(error) if matches!(error.kind(), jsonwebtoken::errors::ErrorKind::InvalidSignature) => Ok(None),
        Err(_) => Err(AuthReason::Invalid),
    }
}
