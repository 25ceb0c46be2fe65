//! Sign-ins: sessions, their refresh tokens, and the claims of an access token.

use std::net::IpAddr;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::domain::accounts::Account;
use crate::domain::ids::{OrganizationId, RefreshTokenId, SessionId, UserId};
use crate::domain::plans::Plan;
use crate::domain::time::Timestamp;
use crate::domain::vocabulary::vocabulary;

/// Who an access token must be meant for.
pub const AUDIENCE: &str = "kijko-backend";

vocabulary!(
    /// How somebody proved who they are.
    AuthMethod { Password = "password", Sso = "sso", MagicLink = "magic_link", ApiKey = "api_key" }
);

impl AuthMethod {
    /// The same in an access token: RFC 8176 has a word for passwords alone.
    pub fn amr(self) -> &'static str {
        match self {
            AuthMethod::Password => "pwd",
            AuthMethod::Sso | AuthMethod::MagicLink | AuthMethod::ApiKey => self.as_str(),
        }
    }
}

/// Where a request comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    pub request_id: String,
    /// At most 500 characters of it.
    pub user_agent: Option<String>,
    pub address: IpAddr,
}

#[derive(Clone, Debug)]
pub struct Session {
    pub id: SessionId,
    pub organization_id: OrganizationId,
    pub user_id: UserId,
    pub auth_method: AuthMethod,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub revoked: bool,
}

/// A refresh token as it is stored: its hash, never itself.
#[derive(Clone, Debug)]
pub struct RefreshToken {
    pub id: RefreshTokenId,
    pub session_id: SessionId,
    pub token_hash: [u8; 32],
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub rotation: Option<Rotation>,
}

/// When a token was exchanged, and for which one.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    pub at: Timestamp,
    pub successor: RefreshTokenId,
}

/// The claims of an access token, RFC 7519 and OpenID Connect names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    pub sub: UserId,
    pub sid: SessionId,
    pub jti: String,
    pub org_id: OrganizationId,
    pub email: String,
    pub email_verified: bool,
    pub given_name: String,
    pub family_name: String,
    pub roles: Vec<String>,
    pub amr: Vec<String>,
    pub iat: i64,
    pub nbf: i64,
    pub exp: i64,
}

/// Reply to a sign-in.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenResponse {
    /// RS256 JWT for the Authorization header.
    pub access_token: String,
    /// Opaque; good for one exchange.
    pub refresh_token: String,
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "Bearer"))]
    pub token_type: &'static str,
    /// Life of the access token in seconds.
    pub expires_in: i64,
}

/// Reply of `GET /auth/me`.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Me {
    pub id: UserId,
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    /// The nil UUID when the user belongs to no organisation.
    pub org_id: OrganizationId,
    /// The role in the organisation, then `platform_admin` if held.
    pub roles: Vec<String>,
    pub plan: Plan,
    pub email_verified: bool,
}

/// The roles as tokens and `me` list them.
pub fn role_names(account: &Account) -> Vec<String> {
    let role = account.membership.as_ref().map(|m| m.role.as_str());
    let admin = account.user.is_platform_admin.then_some("platform_admin");
    role.into_iter().chain(admin).map(str::to_owned).collect()
}

/// What a refresh sends.
#[derive(Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RefreshRequest {
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub refresh_token: SecretString,
}

/// What the holder of a link sends.
#[derive(Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LinkToken {
    /// As it stands in the link that was mailed.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub token: SecretString,
}

/// What a logout may send.
#[derive(Default, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignOutRequest {
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub refresh_token: Option<SecretString>,
}
