//! What a token of the realm must be like. RS256 only: the algorithm is ours to choose, never the token's.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use uuid::Uuid;

use crate::adapters::sealing::sha256;
use crate::domain::ids::{OrganizationId, SessionId};
use crate::domain::realms::{RealmClaims, RealmProfile};
use crate::domain::time::Timestamp;
use crate::error::AuthReason;

/// How far the realm's clock and ours may be apart, in seconds.
const LEEWAY: i64 = 30;
/// Longer than any token that fits into a header; refused before anything is decoded.
const MAX_LENGTH: usize = 8 * 1024;
/// Longest name of a person or a sign-in that is stored.
const MAX_NAME: usize = 255;

pub(super) struct Rules {
    pub issuer: String,
    pub client_id: String,
    pub admin_role: String,
}

/// What kind of token it claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Access,
    /// An ID token, made for this one sign-in.
    Id {
        nonce: &'a str,
    },
}

#[derive(Debug, Deserialize)]
struct RawClaims {
    iss: String,
    #[serde(default)]
    aud: Audience,
    azp: Option<String>,
    typ: Option<String>,
    nonce: Option<String>,
    sub: String,
    sid: String,
    exp: i64,
    nbf: Option<i64>,
    iat: Option<i64>,
    email: Option<String>,
    #[serde(default)]
    email_verified: bool,
    given_name: Option<String>,
    family_name: Option<String>,
    org_id: Option<serde_json::Value>,
    organization_id: Option<serde_json::Value>,
    #[serde(default)]
    realm_access: Roles,
}

/// One audience, or several.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum Audience {
    #[default]
    None,
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn contains(&self, client: &str) -> bool {
        match self {
            Audience::None => false,
            Audience::One(one) => one == client,
            Audience::Many(many) => many.iter().any(|one| one == client),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
struct Roles {
    #[serde(default)]
    roles: Vec<String>,
}

/// Which key the token says it was signed with.
pub(super) fn key_id(token: &str) -> Result<String, AuthReason> {
    if token.len() > MAX_LENGTH {
        return Err(AuthReason::Malformed);
    }
    let header = decode_header(token).map_err(|_| AuthReason::Malformed)?;
    // RFC 9068 gives access tokens a type of their own; Keycloak uses it only if told to.
    let is_token = header.typ.is_some_and(|typ| ["jwt", "at+jwt"].iter().any(|known| typ.eq_ignore_ascii_case(known)));
    let kid = header.kid.filter(|_| header.alg == Algorithm::RS256 && header.crit.is_none() && is_token);
    kid.ok_or(AuthReason::Invalid)
}

impl Rules {
    /// None when the signature is not that of the key: the key may be an old one of the same name.
    pub(super) fn signed(&self, token: &str, key: &DecodingKey) -> Result<Option<Signed>, AuthReason> {
        let mut validation = Validation::new(Algorithm::RS256);
        // What the claims must say is decided below: times by our own clock, and `azp` beside `aud`.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        match decode::<RawClaims>(token, key, &validation) {
            Ok(decoded) => Ok(Some(Signed(decoded.claims))),
            Err(error) if matches!(error.kind(), jsonwebtoken::errors::ErrorKind::InvalidSignature) => Ok(None),
            Err(_) => Err(AuthReason::Invalid),
        }
    }

    /// Everything but whether it has expired.
    fn accepts(&self, claims: &RawClaims, kind: Kind<'_>, now: Timestamp) -> bool {
        let for_us = claims.aud.contains(&self.client_id);
        let meant = match kind {
            // An ID token says who signed in, to the client alone; it opens nothing.
            Kind::Access => {
                claims.typ.as_deref() == Some("Bearer")
                    && (for_us || claims.azp.as_deref() == Some(self.client_id.as_str()))
            }
            Kind::Id { nonce } => {
                claims.typ.as_deref() == Some("ID") && for_us && claims.nonce.as_deref() == Some(nonce)
            }
        };
        let latest = now.timestamp().saturating_add(LEEWAY);
        let begun = claims.nbf.is_none_or(|at| at <= latest) && claims.iat.is_none_or(|at| at <= latest);
        let named = [&claims.sub, &claims.sid].iter().all(|name| (1..=MAX_NAME).contains(&name.len()));
        meant && begun && named && claims.iss == self.issuer
    }

    pub(super) fn claims(&self, signed: Signed, kind: Kind<'_>, now: Timestamp) -> Result<RealmClaims, AuthReason> {
        let Signed(claims) = signed;
        if !self.accepts(&claims, kind, now) {
            return Err(AuthReason::Invalid);
        }
        let end = claims.exp.checked_add(LEEWAY).and_then(|at| Timestamp::from_timestamp(at, 0));
        Ok(RealmClaims {
            session_id: session_id(&self.issuer, &claims.sid),
            subject: claims.sub,
            sid: claims.sid,
            organization: claims.org_id.or(claims.organization_id).map(organization),
            profile: RealmProfile {
                email: claims.email,
                email_verified: claims.email_verified,
                given_name: claims.given_name,
                family_name: claims.family_name,
            },
            is_platform_admin: claims.realm_access.roles.contains(&self.admin_role),
            expires_at: end.ok_or(AuthReason::Invalid)?,
        })
    }
}

/// Claims under a signature that is the realm's.
pub(super) struct Signed(RawClaims);

/// Keycloak names its sessions as it likes; ours are UUIDs, and every process must come to the same one.
fn session_id(issuer: &str, sid: &str) -> SessionId {
    let digest = sha256(format!("{issuer}\0{sid}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    SessionId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// A user attribute may hold anything, also several values; what is no id is nobody's.
fn organization(value: serde_json::Value) -> OrganizationId {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or(OrganizationId(Uuid::nil()))
}
