//! What an error looks like on the wire: RFC 9457, and the members that the front end reads.
//! The only file that maps an error to a status.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kijko_core::domain::limits::Standing;
use kijko_core::domain::usage::{Metered, Quota};
use kijko_core::{Code, Error, Violation};
use serde::Serialize;
use serde_json::{Value, json};

use crate::etags::etag;

/// Marks a reply whose rate headers are about the plan and not about the window.
pub const QUOTA_METRIC: HeaderName = HeaderName::from_static("x-quota-metric");

/// An error on its way out. The middleware adds the request id, logs it once, and writes the body.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: Code,
    detail: String,
    field: Option<String>,
    details: Option<Value>,
    internal: Option<String>,
    /// Which limit refused and when to try again, or what is there now.
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The body of every reply that is not a success.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemBody {
    /// `https://kijko.nl/problems/<code in lower-kebab-case>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short fixed text per code.
    pub title: String,
    pub status: u16,
    /// A sentence about this occurrence, for people.
    pub detail: String,
    /// What happened, UPPER_SNAKE, for programs.
    pub code: String,
    /// The same as `detail`.
    pub message: String,
    /// The first offending member of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// For validation: `errors`, one entry of field, message and code per offending member.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub details: Option<Value>,
    /// For `QUOTA_EXCEEDED`, how many were allowed; for `BUDGET_EXCEEDED`, how many US cents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// The same of what was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<i64>,
    /// The same as the header `X-Request-ID`.
    pub request_id: String,
}

impl Problem {
    /// A refusal that only HTTP knows.
    pub fn new(status: StatusCode, code: Code, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), field: None, details: None, internal: None, headers: Vec::new() }
    }

    pub fn code(&self) -> Code {
        self.code
    }

    /// For the log alone.
    pub fn internal(&self) -> Option<&str> {
        self.internal.as_deref()
    }

    /// The reply as the client gets it.
    pub fn into_reply(self, request_id: &str) -> Response {
        // Of what was used up, these two are told beside the details as well.
        let is_used_up = matches!(self.code, Code::QuotaExceeded | Code::BudgetExceeded);
        let count = |name| self.details.as_ref().filter(|_| is_used_up).and_then(|details| details[name].as_i64());
        let (limit, used) = (count("limit"), count("used"));
        let body = ProblemBody {
            kind: format!("https://kijko.nl/problems/{}", self.code.as_str().to_lowercase().replace('_', "-")),
            title: self.code.title().to_owned(),
            status: self.status.as_u16(),
            message: self.detail.clone(),
            detail: self.detail,
            code: self.code.as_str().to_owned(),
            field: self.field,
            details: self.details,
            limit,
            used,
            request_id: request_id.to_owned(),
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.headers);
        if self.code == Code::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let internal = error.internal_text();
        let detail = error.to_string();
        let (status, field, details) = match &error {
            Error::Invalid { violations, .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, first_field(violations), Some(json!({ "errors": violations })))
            }
            Error::Unauthenticated { reason, .. } => {
                (StatusCode::UNAUTHORIZED, None, reason.map(|reason| json!({ "reason": reason.as_str() })))
            }
            Error::Rejected { .. } => (StatusCode::BAD_REQUEST, None, None),
            Error::Forbidden { .. } => (StatusCode::FORBIDDEN, None, None),
            Error::NotFound { .. } => (StatusCode::NOT_FOUND, None, None),
            Error::Gone { .. } => (StatusCode::GONE, None, None),
            Error::Conflict { field, details, .. } => (StatusCode::CONFLICT, field.map(str::to_owned), details.clone()),
            Error::Outdated { .. } => (StatusCode::PRECONDITION_FAILED, None, None),
            Error::LimitReached { limit, used, .. } => {
                (StatusCode::TOO_MANY_REQUESTS, None, Some(json!({ "limit": limit, "used": used })))
            }
            Error::BudgetExceeded(refusal) => (StatusCode::PAYMENT_REQUIRED, None, Some(refusal.details())),
            Error::QuotaExceeded(quota) => {
                let details = json!({
                    "category": quota.metric, "limit": quota.limit, "used": quota.used, "plan": quota.plan,
                    "resetAt": quota.resets_at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
                });
                (StatusCode::TOO_MANY_REQUESTS, None, Some(details))
            }
            Error::RateLimited(standing) => {
                let (limit, window, retry_after) = (standing.limit, standing.window_seconds, standing.frees_in_seconds);
                let details = json!({ "limit": limit, "windowSeconds": window, "retryAfter": retry_after });
                (StatusCode::TOO_MANY_REQUESTS, None, Some(details))
            }
            Error::Locked { retry_after, .. } => {
                (StatusCode::TOO_MANY_REQUESTS, None, Some(json!({ "retryAfter": retry_after })))
            }
            Error::NotConfigured { .. } | Error::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, None, None),
            Error::Internal { .. } => (StatusCode::INTERNAL_SERVER_ERROR, None, None),
        };
        Self { status, code: error.code(), detail, field, details, internal, headers: advice(&error) }
    }
}

/// The headers that help with a refusal: when to try again, or on what to base the change.
fn advice(error: &Error) -> Vec<(HeaderName, HeaderValue)> {
    match error {
        Error::RateLimited(standing) => {
            let mut headers = standing_headers(standing).to_vec();
            headers.push((header::RETRY_AFTER, standing.frees_in_seconds.into()));
            headers
        }
        Error::QuotaExceeded(quota) => {
            let mut headers = quota_headers(quota);
            headers.push((header::RETRY_AFTER, quota.resets_in_seconds.into()));
            headers
        }
        Error::Outdated { revision } => vec![(header::ETAG, etag(*revision))],
        Error::Locked { retry_after, .. } => vec![(header::RETRY_AFTER, (*retry_after).into())],
        _ => Vec::new(),
    }
}

/// Where the caller stands with the limit that is nearest: how many requests it allows, how many are left, and when
/// the next one is free again, in Unix seconds.
pub fn standing_headers(standing: &Standing) -> [(HeaderName, HeaderValue); 3] {
    [
        (HeaderName::from_static("x-ratelimit-limit"), standing.limit.into()),
        (HeaderName::from_static("x-ratelimit-remaining"), standing.remaining.into()),
        (HeaderName::from_static("x-ratelimit-reset"), standing.frees_at.into()),
    ]
}

/// Which quota a request was counted against, and where that leaves the organisation; a quota without limit has a name
/// and nothing else.
pub fn quota_headers(quota: &Quota) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = vec![(QUOTA_METRIC, HeaderValue::from_static(quota.metric.as_str()))];
    if let Some(remaining) = quota.remaining() {
        headers.push((HeaderName::from_static("x-ratelimit-limit"), quota.limit.into()));
        headers.push((HeaderName::from_static("x-ratelimit-remaining"), remaining.into()));
        headers.push((HeaderName::from_static("x-ratelimit-reset"), quota.resets_at.timestamp().into()));
    }
    headers
}

/// `202 Accepted`, the address to look at, and what was counted.
pub fn accepted<T>(location: String, metered: Metered<T>) -> Reply<(StatusCode, HeaderMap, Json<T>)> {
    let mut headers: HeaderMap = quota_headers(&metered.quota).into_iter().collect();
    let location = HeaderValue::try_from(location).map_err(|e| Error::internal("writing an address", e))?;
    headers.insert(header::LOCATION, location);
    Ok((StatusCode::ACCEPTED, headers, Json(metered.reply)))
}

fn first_field(violations: &[Violation]) -> Option<String> {
    violations.first().map(|violation| violation.field.clone())
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

pub type Reply<T> = Result<T, Problem>;
