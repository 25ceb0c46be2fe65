//! What a token of the realm must say.

use serde::Deserialize;
use uuid::Uuid;

use crate::adapters::oidc::tokens::{Audience, LEEWAY, MAX_NAME};
use crate::adapters::sealing::sha256;
use crate::domain::ids::{OrganizationId, SessionId};
use crate::domain::profiles::Profile;
use crate::domain::realms::RealmClaims;
use crate::domain::time::Timestamp;
use crate::error::AuthReason;

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

/// As they stand under the realm's signature, unchecked.
#[derive(Debug, Deserialize)]
pub(super) struct RawClaims {
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
    auth_time: Option<i64>,
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

#[derive(Debug, Default, Deserialize)]
struct Roles {
    #[serde(default)]
    roles: Vec<String>,
}

impl Rules {
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

    pub(super) fn claims(&self, claims: RawClaims, kind: Kind<'_>, now: Timestamp) -> Result<RealmClaims, AuthReason> {
        if !self.accepts(&claims, kind, now) {
            return Err(AuthReason::Invalid);
        }
        let end = claims.exp.checked_add(LEEWAY).and_then(|at| Timestamp::from_timestamp(at, 0));
        Ok(RealmClaims {
            session_id: session_id(&self.issuer, &claims.sid),
            subject: claims.sub,
            sid: claims.sid,
            organization: claims.org_id.or(claims.organization_id).map(organization),
            profile: Profile {
                email: claims.email,
                email_verified: claims.email_verified,
                given_name: claims.given_name,
                family_name: claims.family_name,
            },
            is_platform_admin: claims.realm_access.roles.contains(&self.admin_role),
            authenticated_at: claims.auth_time.and_then(|at| Timestamp::from_timestamp(at, 0)),
            expires_at: end.ok_or(AuthReason::Invalid)?,
        })
    }
}

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
