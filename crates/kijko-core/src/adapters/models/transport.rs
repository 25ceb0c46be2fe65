//! HTTP to a provider: one client for all, time-outs for everything, nothing kept without a bound.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, redirect, retry};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::timeout;
use url::Url;

use super::failures;
use super::stream::{self, Answer};
use crate::config::ModelConfig;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ports::clock::Clock;
use crate::ports::models::{ModelError, ModelStream};

const MAX_ERROR_BODY_BYTES: usize = 64 << 10;

/// Cheap to clone; clones share their connections.
#[derive(Clone)]
pub(crate) struct Transport {
    client: Client,
    inactivity: Duration,
    clock: Arc<dyn Clock>,
}

impl Transport {
    /// To the addresses that the settings name.
    pub(crate) fn new(config: &ModelConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::over(Client::builder(), config, clock)
    }

    /// By way of a client that decides by itself where it connects to.
    pub(crate) fn over(client: ClientBuilder, config: &ModelConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        // No total time-out: an answer may take minutes as long as it keeps coming.
        let client = client
            .connect_timeout(config.connect_timeout)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .build()
            .map_err(|error| Error::internal("setting up the client for model providers", error))?;
        Ok(Self { client, inactivity: config.inactivity_timeout, clock })
    }

    /// Keys go into headers and nowhere else: addresses end up in logs.
    pub(super) fn request(&self, method: Method, url: Url, headers: &HeaderMap) -> RequestBuilder {
        self.client.request(method, url).headers(headers.clone())
    }

    /// The answer to a request, as a stream.
    pub(super) async fn stream<A: Answer>(&self, request: RequestBuilder) -> Result<ModelStream, ModelError> {
        let response = self.send::<A>(request).await?;
        Ok(stream::events::<A>(response, self.inactivity))
    }

    /// Whether the request is granted; what comes then is not read.
    pub(super) async fn is_granted<A: Answer>(&self, request: RequestBuilder) -> Result<(), ModelError> {
        self.send::<A>(request).await.map(drop)
    }

    async fn send<A: Answer>(&self, request: RequestBuilder) -> Result<Response, ModelError> {
        let response = in_time(self.inactivity, request.send()).await?;
        if response.status().is_success() { Ok(response) } else { Err(self.refused::<A>(response).await) }
    }

    async fn refused<A: Answer>(&self, response: Response) -> ModelError {
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = header(RETRY_AFTER.as_str()).and_then(|text| wait_in(text, self.clock.now()));
        let request_id = header("request-id").or(header("x-request-id"));
        tracing::warn!(status, request_id, "the model provider refused a call");
        let body = timeout(self.inactivity, body_of(response)).await.ok().flatten().unwrap_or_default();
        let error = A::refusal(status, &body);
        ModelError { retry_after: retry_after.or(error.retry_after), ..error }
    }
}

/// A header with a key in it, which no log prints.
pub(super) fn secret_header(prefix: &str, key: &SecretString) -> Result<HeaderValue> {
    let text = SecretString::from(format!("{prefix}{}", key.expose_secret()));
    let mut value = HeaderValue::from_str(text.expose_secret())
        .map_err(|error| Error::internal("the key of a model provider does not fit in a header", error))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Below a base URL that has been checked; each segment is encoded.
pub(super) fn below(base: &str, segments: &[&str]) -> Result<Url> {
    let invalid = |problem: String| Error::internal("the base URL of a model provider", problem);
    let mut url = Url::parse(base).map_err(|error| invalid(error.to_string()))?;
    let path = url.path_segments_mut().map(|mut path| {
        path.pop_if_empty().extend(segments);
    });
    path.map_err(|()| invalid("it has no path".into()))?;
    Ok(url)
}

pub(super) async fn in_time<T>(
    limit: Duration,
    step: impl Future<Output = reqwest::Result<T>>,
) -> Result<T, ModelError> {
    match timeout(limit, step).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            tracing::warn!(error = ?error.without_url(), "no connection to the model provider");
            Err(failures::unreached("The model provider could not be reached, or the connection broke"))
        }
        Err(_) => Err(failures::unreached("The model provider was silent for too long")),
    }
}

/// None when it is too long, breaks off, or is not JSON.
async fn body_of(mut response: Response) -> Option<Value> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > MAX_ERROR_BODY_BYTES {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).ok()
}

/// How long to wait by a `Retry-After`: in seconds, or until a date.
fn wait_in(text: &str, now: Timestamp) -> Option<Duration> {
    let seconds = text.trim().parse().map(Duration::from_secs).ok();
    seconds.or_else(|| {
        let date = httpdate::parse_http_date(text.trim()).ok()?;
        // A date in the past asks for nothing.
        Some(date.duration_since(SystemTime::from(now)).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_given_in_seconds_or_by_a_date() {
        let now = Timestamp::UNIX_EPOCH + Duration::from_secs(784_111_777 - 30);
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (text, wait) in [
            ("7", seconds(7)),
            (" 61 ", seconds(61)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", seconds(30)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", seconds(30)),
            ("Sun Nov  6 08:49:37 1994", seconds(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", seconds(0)),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
        ] {
            assert_eq!(wait_in(text, now), wait, "{text:?}");
        }
    }

    #[test]
    fn a_model_cannot_lead_elsewhere() {
        let url = below("https://example.com/v1/", &["models", "a/../b?key=c#d:x"]).expect("valid");
        assert_eq!(url.as_str(), "https://example.com/v1/models/a%2F..%2Fb%3Fkey=c%23d:x");
    }
}
