//! Calls to identity providers: bounded in time and size, and repeated a little where that does no harm.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect, retry};
use serde::de::DeserializeOwned;

use crate::error::{Code, Error, Result, Source};

const TIME_LIMIT: Duration = Duration::from_secs(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
const MAX_BODY_BYTES: usize = 1 << 20;
/// Waits before the second and the third try; a little more by chance, so that processes do not knock together.
const WAITS: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

pub struct Http {
    pub client: Client,
}

impl Http {
    pub fn new() -> Result<Self> {
        let client = Client::builder()
            .timeout(TIME_LIMIT)
            .connect_timeout(CONNECT_LIMIT)
            // A redirect would carry our secret elsewhere.
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .build()
            .map_err(|e| Error::internal("setting up the client for identity providers", e))?;
        Ok(Self { client })
    }

    pub async fn get<T: DeserializeOwned>(&self, url: &str) -> Result<T> {
        self.ask(self.client.get(url)).await
    }

    /// A question that is answered with JSON. What was read is never repeated in an error: it may be about a person.
    pub async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let response = self.send(request, Repeat::Always).await?;
        if response.status() != StatusCode::OK {
            return Err(unavailable(format!("{} for {}", response.status(), response.url().path())));
        }
        let answer = serde_json::from_slice(&body(response).await?);
        answer.map_err(|problem| unavailable(format!("not what was asked for: {:?}", problem.classify())))
    }

    /// Any answer is an answer; none, or one that says "later", is `AUTH_UNAVAILABLE`.
    pub async fn send(&self, request: RequestBuilder, repeat: Repeat) -> Result<Response> {
        let mut waits = WAITS.iter();
        loop {
            let attempt = request
                .try_clone()
                .ok_or_else(|| Error::internal("calling an identity provider", "a streamed body"))?;
            let error = match attempt.send().await {
                Ok(response) if !is_later(response.status()) => return Ok(response),
                Ok(response) if repeat == Repeat::IfUnsent => return Err(unavailable(response.status().to_string())),
                Ok(response) => unavailable(response.status().to_string()),
                Err(error) if repeat == Repeat::IfUnsent && !error.is_connect() => return Err(unavailable(error)),
                // Who waited that long already does not wait again.
                Err(error) if error.is_timeout() => return Err(unavailable(error)),
                Err(error) => unavailable(error),
            };
            let Some(wait) = waits.next() else { return Err(error) };
            tokio::time::sleep(wait.mul_f64(rand::random_range(1.0..1.5))).await;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Asking twice is as good as asking once.
    Always,
    /// Only what certainly never arrived.
    IfUnsent,
}

fn is_later(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

pub async fn body(mut response: Response) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unavailable)? {
        if bytes.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(unavailable("an answer without end"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

pub fn unavailable(error: impl Into<Source>) -> Error {
    Error::unavailable(Code::AuthUnavailable, error)
}
