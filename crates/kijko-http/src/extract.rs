//! What handlers take: who is calling, and what they sent.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use kijko_core::domain::idempotency::IdempotencyKey;
use kijko_core::domain::ids::{ApiKeyId, ExecutionId, InvitationId, MemberId, SkillId};
use kijko_core::domain::reading::{self, Unreadable};
use kijko_core::domain::sessions::Origin;
use kijko_core::domain::test_runs::TestRunId;
use kijko_core::services::identity::Identity;
use kijko_core::{AuthReason, Code, Error, TenantContext};

use serde::de::DeserializeOwned;

use crate::client::{ClientAddress, UNKNOWN};
use crate::problem::Problem;

/// The id of this request, in every log line and reply.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// A member of an organisation; the key to its data.
pub struct Caller(pub TenantContext);

/// A person who signed in, whether or not they belong to an organisation.
pub struct SignedIn(pub Arc<Identity>);

impl<S: Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let identity = parts.extensions.get::<Arc<Identity>>().cloned();
        identity.map(Self).ok_or_else(|| Error::unauthenticated(AuthReason::Missing).into())
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let SignedIn(identity) = SignedIn::from_request_parts(parts, state).await?;
        Ok(Self(identity.context(origin(parts))?))
    }
}

/// Where a sign-in comes from.
pub struct From(pub Origin);

impl<S: Sync> FromRequestParts<S> for From {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(origin(parts)))
    }
}

fn origin(parts: &Parts) -> Origin {
    let user_agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let address = parts.extensions.get::<ClientAddress>().map(|address| address.0);
    Origin {
        request_id: parts.extensions.get::<RequestId>().map_or_else(String::new, |id| id.0.clone()),
        user_agent: user_agent.map(|text| text.chars().take(500).collect()),
        address: address.unwrap_or(UNKNOWN),
    }
}

/// The token of `Authorization: Bearer …`. None when there is no such header, or it is of another kind. Two of them, or
/// one that is no text, cannot be read: that is a token too, an empty one, which is refused as malformed.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return Some("");
    }
    let Ok(value) = value.to_str() else { return Some("") };
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// What a path names. What is no UUID is no row of ours: 404, with the code of the thing.
pub struct Id<T>(pub T);

pub trait Entity: FromStr {
    const NOT_FOUND: Code;
}

impl Entity for ApiKeyId {
    const NOT_FOUND: Code = Code::NotFound;
}

impl Entity for SkillId {
    const NOT_FOUND: Code = Code::SkillNotFound;
}

impl Entity for ExecutionId {
    const NOT_FOUND: Code = Code::ExecutionNotFound;
}

impl Entity for TestRunId {
    const NOT_FOUND: Code = Code::ExecutionNotFound;
}

impl Entity for MemberId {
    const NOT_FOUND: Code = Code::NotFound;
}

impl Entity for InvitationId {
    const NOT_FOUND: Code = Code::NotFound;
}

impl<T: Entity, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await.ok();
        let id = path.and_then(|Path(text)| text.parse().ok());
        id.map(Id).ok_or_else(|| Error::not_found(T::NOT_FOUND).into())
    }
}

/// One or two versions of a skill, as a path names them. What is no number is no version.
pub struct VersionsOf<const N: usize>(pub SkillId, pub [i32; N]);

impl<const N: usize, S: Send + Sync> FromRequestParts<S> for VersionsOf<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, state).await.ok();
        let member = |name: &str| path.as_ref().and_then(|Path(members)| members.get(name));
        let skill = member("id").and_then(|text| text.parse().ok()).ok_or(Error::not_found(Code::SkillNotFound))?;
        let mut numbers = [0; N];
        for (number, name) in numbers.iter_mut().zip(["number", "other"]) {
            let named = member(name).and_then(|text| text.parse().ok());
            *number = named.ok_or(Error::not_found(Code::VersionNotFound))?;
        }
        Ok(Self(skill, numbers))
    }
}

/// The `Idempotency-Key`, on routes that honour it. Given twice, it is none that could be trusted: 422.
pub struct Once(pub Option<IdempotencyKey>);

impl<S: Sync> FromRequestParts<S> for Once {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        let text = if values.next().is_some() { "" } else { value.to_str().unwrap_or_default() };
        Ok(Self(Some(IdempotencyKey::parse(text)?)))
    }
}

#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "for the OpenAPI document")]
pub struct IdempotencyHeader {
    /// Asking again with the same key and body within 24 hours gets the same reply; another body is refused.
    #[param(rename = "Idempotency-Key", max_length = 255)]
    idempotency_key: Option<String>,
}

/// A JSON object. Refuses with 400, 413, 415 and 422, naming the member.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                Code::UnsupportedMediaType,
                "Send the body as JSON, with Content-Type: application/json",
            ));
        }
        parse(&body(request, state).await?).map(Json)
    }
}

/// The same where a body may be left out.
pub struct OptionalJson<T>(pub T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let json = is_json(request.headers());
        let bytes = body(request, state).await?;
        match bytes.trim_ascii().is_empty() {
            true => Ok(Self(T::default())),
            false if json => parse(&bytes).map(Self),
            false => Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                Code::UnsupportedMediaType,
                "Send the body as JSON, with Content-Type: application/json",
            )),
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection.into_response_status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            Code::PayloadTooLarge,
            "The body is larger than this server accepts",
        ),
        _ => Problem::new(StatusCode::BAD_REQUEST, Code::InvalidJson, "The body could not be read"),
    })
}

trait RejectionStatus {
    fn into_response_status(self) -> StatusCode;
}

impl<R: axum::response::IntoResponse> RejectionStatus for R {
    fn into_response_status(self) -> StatusCode {
        self.into_response().status()
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    reading::object(bytes).map_err(|unreadable| match unreadable {
        Unreadable::Syntax(detail) => Problem::new(StatusCode::BAD_REQUEST, Code::InvalidJson, detail),
        Unreadable::Invalid(error) => error.into(),
    })
}

/// The query of a list.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let pairs = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let deserializer = serde_urlencoded::Deserializer::new(pairs);
        serde_path_to_error::deserialize(deserializer).map(Self).map_err(|error| {
            let path = error.path().to_string();
            reading::mistake(&path, &error.into_inner().to_string()).into()
        })
    }
}
