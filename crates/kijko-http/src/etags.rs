//! Entity tags of skills. A tag is the revision in quotes: it changes with every edit, and not with what is counted on a
//! skill (runs, stars), or nobody could edit a busy one.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kijko_core::domain::skills::{BasedOn, Skill};

use crate::problem::Problem;

pub fn etag(revision: i64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// `If-Match`: the edits that a change is based on. A tag that is none of ours matches nothing.
pub struct IfMatch(pub BasedOn);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(match tags(&parts.headers, &header::IF_MATCH) {
            None => BasedOn::any(),
            Some(tags) if tags.iter().any(|tag| tag == "*") => BasedOn::any(),
            // Weak ones are for reading, RFC 9110 says.
            Some(tags) => BasedOn::one_of(tags.iter().filter_map(|tag| revision(tag)).collect()),
        }))
    }
}

/// `If-None-Match`: what the caller has already.
pub struct IfNoneMatch(Vec<String>);

impl<S: Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(tags(&parts.headers, &header::IF_NONE_MATCH).unwrap_or_default()))
    }
}

impl IfNoneMatch {
    fn knows(&self, skill: &Skill) -> bool {
        self.0.iter().any(|tag| tag == "*" || revision(tag.strip_prefix("W/").unwrap_or(tag)) == Some(skill.revision))
    }
}

#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "for the OpenAPI document")]
pub struct EditingHeader {
    /// The `ETag` that the change is based on. When the skill was edited since, the change is refused with 412.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
}

#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "for the OpenAPI document")]
pub struct ReadingHeader {
    /// The `ETag` of what you have. When the skill was not edited since, the reply is 304.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

/// The tags of a header, which may be there several times. None when it is not there at all.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    let values = values.map(|value| value.to_str().unwrap_or_default());
    Some(values.flat_map(|value| value.split(',')).map(|tag| tag.trim().to_owned()).collect())
}

fn revision(tag: &str) -> Option<i64> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// A reply that is a skill, with its tag.
pub struct Tagged {
    status: StatusCode,
    skill: Skill,
}

impl Tagged {
    pub fn ok(skill: Skill) -> Self {
        Self { status: StatusCode::OK, skill }
    }

    /// With the address of the new skill.
    pub fn created(skill: Skill) -> Self {
        Self { status: StatusCode::CREATED, skill }
    }

    /// 304 to whoever has it.
    pub fn unless(self, known: &IfNoneMatch) -> Self {
        let status = if known.knows(&self.skill) { StatusCode::NOT_MODIFIED } else { self.status };
        Self { status, ..self }
    }
}

impl IntoResponse for Tagged {
    fn into_response(self) -> Response {
        let tag = (header::ETAG, etag(self.skill.revision));
        match self.status {
            StatusCode::NOT_MODIFIED => (self.status, [tag]).into_response(),
            StatusCode::CREATED => {
                let location = [(header::LOCATION, format!("/api/v1/skills/{}", self.skill.id))];
                (self.status, [tag], location, Json(self.skill)).into_response()
            }
            _ => (self.status, [tag], Json(self.skill)).into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(name: HeaderName, values: &[&'static str]) -> Parts {
        let mut request = axum::http::Request::new(());
        for value in values {
            request.headers_mut().append(&name, HeaderValue::from_static(value));
        }
        request.into_parts().0
    }

    #[tokio::test]
    async fn a_condition_holds_for_the_strong_tags_it_names() {
        for (values, expected) in [
            (&[][..], BasedOn::any()),
            (&["*"], BasedOn::any()),
            (&["\"7\""], BasedOn::one_of(vec![7])),
            (&["\"7\", \"8\"", "\"9\""], BasedOn::one_of(vec![7, 8, 9])),
            (&["W/\"7\""], BasedOn::one_of(vec![])),
            (&["7"], BasedOn::one_of(vec![])),
            (&["\"+7\""], BasedOn::one_of(vec![])),
            (&["\"99999999999999999999\""], BasedOn::one_of(vec![])),
            (&[""], BasedOn::one_of(vec![])),
        ] {
            let mut parts = sent(header::IF_MATCH, values);
            let IfMatch(based_on) = IfMatch::from_request_parts(&mut parts, &()).await.expect("never refused");
            assert_eq!(based_on, expected, "If-Match: {values:?}");
        }
    }
}
