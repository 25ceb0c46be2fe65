//! Anthropic's Messages API. One call of `stream` is one request; nothing is tried again here.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, redirect, retry};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::config::ModelConfig;
use crate::domain::executions::{Failure, FailureCode};
use crate::error::{Error, Result};
use crate::ports::models::{ModelError, ModelEvent, ModelProvider, ModelRequest, ModelStream};

const MAX_ERROR_BODY_BYTES: usize = 64 << 10;
const MAX_EVENT_BYTES: usize = 1 << 20;
const MAX_TEXT_BYTES: usize = 8 << 20;
const MAX_MESSAGE_CHARS: usize = 500;
const PROMPT_TOKENS: [&str; 3] = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"];
const COMPLETION_TOKENS: &str = "output_tokens";

pub(crate) struct AnthropicProvider {
    client: Client,
    url: String,
    inactivity: Duration,
}

impl AnthropicProvider {
    pub(crate) fn new(config: &ModelConfig, api_key: SecretString) -> Result<Self> {
        // No total time-out: an answer may take minutes as long as it keeps coming.
        let client = Client::builder()
            .default_headers(headers(&api_key)?)
            .connect_timeout(config.connect_timeout)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .build()
            .map_err(|error| Error::internal("setting up the Anthropic client", error))?;
        let url = format!("{}/v1/messages", config.anthropic_base_url);
        Ok(Self { client, url, inactivity: config.inactivity_timeout })
    }
}

fn headers(api_key: &SecretString) -> Result<HeaderMap> {
    let mut key = HeaderValue::from_str(api_key.expose_secret())
        .map_err(|error| Error::internal("ANTHROPIC_API_KEY does not fit in a header", error))?;
    key.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", key);
    headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
    Ok(headers)
}

#[async_trait]
impl ModelProvider for AnthropicProvider {
    async fn stream(&self, request: &ModelRequest) -> Result<ModelStream, ModelError> {
        let call = self.client.post(&self.url).json(&call(request)).send();
        let response = in_time(self.inactivity, call).await?;
        if !response.status().is_success() {
            return Err(refused(response, self.inactivity).await);
        }
        let incoming = Incoming {
            response,
            inactivity: self.inactivity,
            chunk: Bytes::new(),
            line: Vec::new(),
            answer: Answer::default(),
        };
        let events = stream::try_unfold(incoming, |mut incoming| async move {
            Ok(incoming.next().await?.map(|event| (event, incoming)))
        });
        Ok(events.boxed())
    }
}

/// The body of a call, with only those members that are set.
fn call(request: &ModelRequest) -> Value {
    let mut call = json!({
        "model": request.model,
        "max_tokens": request.max_tokens,
        "system": request.system,
        "messages": [{ "role": "user", "content": request.prompt }],
        "stream": true,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop_sequences": Some(&request.stop_sequences).filter(|sequences| !sequences.is_empty()),
    });
    if let Some(members) = call.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    call
}

/// An answer on its way in.
struct Incoming {
    response: Response,
    inactivity: Duration,
    chunk: Bytes,
    /// The beginning of a line whose end is still to come.
    line: Vec<u8>,
    answer: Answer,
}

impl Incoming {
    async fn next(&mut self) -> Result<Option<ModelEvent>, ModelError> {
        while !self.answer.is_whole {
            let data = self.next_data().await?;
            let event = serde_json::from_slice(&data).map_err(|_| malformed())?;
            if let Some(event) = self.answer.hear(event)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    async fn next_data(&mut self) -> Result<Vec<u8>, ModelError> {
        loop {
            if let Some(data) = take_data(&mut self.line, &mut self.chunk)? {
                return Ok(data);
            }
            match in_time(self.inactivity, self.response.chunk()).await? {
                Some(chunk) => self.chunk = chunk,
                None => return Err(unreached("The model provider broke off its answer")),
            }
        }
    }
}

/// Takes the data of the next server-sent event out of a line begun earlier and this chunk; None when more is needed.
///
/// The data is one line of JSON that repeats the name of the event, so no other line matters. The crate
/// `eventsource-stream` would panic on a byte order mark and keep a line of any length.
fn take_data(line: &mut Vec<u8>, chunk: &mut Bytes) -> Result<Option<Vec<u8>>, ModelError> {
    while !chunk.is_empty() {
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let piece = chunk.split_to(end.map_or(chunk.len(), |end| end + 1));
        if line.len() + piece.len() > MAX_EVENT_BYTES {
            return Err(malformed());
        }
        line.extend_from_slice(&piece);
        if end.is_some() {
            let line = std::mem::take(line);
            if let Some(data) = line.strip_prefix(b"data:") {
                return Ok(Some(data.to_vec()));
            }
        }
    }
    Ok(None)
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Value,
    },
    /// A block begins or goes on.
    #[serde(rename = "content_block_start", alias = "content_block_delta")]
    Content {
        index: u64,
        #[serde(rename = "content_block", alias = "delta")]
        piece: Piece,
    },
    MessageDelta {
        delta: Value,
        #[serde(default)]
        usage: Value,
    },
    MessageStop,
    /// The body of a refused call has this form, too.
    Error {
        error: Value,
    },
    /// `ping`, the end of a block, and whatever is added later.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Piece {
    #[serde(alias = "text_delta")]
    Text { text: String },
    #[serde(other)]
    Other,
}

/// What was heard of an answer so far.
#[derive(Default)]
struct Answer {
    usage: HashMap<&'static str, u64>,
    /// The last block that text came from.
    text_block: Option<u64>,
    text_bytes: usize,
    is_refusal: bool,
    is_whole: bool,
}

impl Answer {
    fn hear(&mut self, event: Event) -> Result<Option<ModelEvent>, ModelError> {
        match event {
            Event::MessageStart { message } => Ok(Some(self.usage(&message["usage"]))),
            Event::Content { index, piece: Piece::Text { text } } => self.text(index, text),
            Event::MessageDelta { delta, usage } => {
                self.is_refusal |= delta["stop_reason"] == "refusal";
                Ok(Some(self.usage(&usage)))
            }
            Event::MessageStop if self.is_refusal && self.text_block.is_none() => {
                Err(error(FailureCode::ContentBlocked, "The model refused to answer", false))
            }
            Event::MessageStop => {
                self.is_whole = true;
                Ok(None)
            }
            Event::Error { error } => {
                let text = |name| error[name].as_str().unwrap_or_default();
                Err(failure(status_of(text("type")), text("message")))
            }
            Event::Content { piece: Piece::Other, .. } | Event::Other => Ok(None),
        }
    }

    fn text(&mut self, block: u64, text: String) -> Result<Option<ModelEvent>, ModelError> {
        // PostgreSQL cannot store U+0000.
        let mut text = if text.contains('\0') { text.replace('\0', "") } else { text };
        if text.is_empty() {
            return Ok(None);
        }
        if self.text_block.replace(block).is_some_and(|last| last != block) {
            text.insert(0, '\n');
        }
        self.text_bytes += text.len();
        if self.text_bytes > MAX_TEXT_BYTES {
            return Err(error(FailureCode::ApiError, "The answer of the model is too long", false));
        }
        Ok(Some(ModelEvent::Text(text)))
    }

    fn usage(&mut self, report: &Value) -> ModelEvent {
        // A later report may leave out what an earlier one said.
        for name in PROMPT_TOKENS.into_iter().chain([COMPLETION_TOKENS]) {
            self.usage.extend(report[name].as_u64().map(|count| (name, count)));
        }
        let prompt = PROMPT_TOKENS.iter().filter_map(|name| self.usage.get(name).copied());
        ModelEvent::Usage {
            prompt_tokens: prompt.reduce(u64::saturating_add),
            completion_tokens: self.usage.get(COMPLETION_TOKENS).copied(),
        }
    }
}

async fn in_time<T>(limit: Duration, step: impl Future<Output = reqwest::Result<T>>) -> Result<T, ModelError> {
    match timeout(limit, step).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            tracing::warn!(error = ?error.without_url(), "no connection to the model provider");
            Err(unreached("The model provider could not be reached, or the connection broke"))
        }
        Err(_) => Err(unreached("The model provider was silent for too long")),
    }
}

async fn refused(response: Response, limit: Duration) -> ModelError {
    let status = response.status().as_u16();
    let header = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let retry_after = header(RETRY_AFTER.as_str()).and_then(|text| text.parse().ok()).map(Duration::from_secs);
    tracing::warn!(status, request_id = header("request-id"), "the model provider refused a call");
    let message = match status {
        400 => timeout(limit, message_of(response)).await.ok().flatten(),
        _ => None,
    };
    ModelError { retry_after, ..failure(status, &message.unwrap_or_default()) }
}

async fn message_of(mut response: Response) -> Option<String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > MAX_ERROR_BODY_BYTES {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    match serde_json::from_slice(&body).ok()? {
        Event::Error { error } => error["message"].as_str().map(str::to_owned),
        _ => None,
    }
}

/// The HTTP status that an error event stands for.
fn status_of(kind: &str) -> u16 {
    match kind {
        "invalid_request_error" => 400,
        "authentication_error" => 401,
        "permission_error" => 403,
        "not_found_error" => 404,
        "request_too_large" => 413,
        "rate_limit_error" => 429,
        "timeout_error" => 504,
        "overloaded_error" => 529,
        "api_error" => 500,
        _ => 0,
    }
}

/// What the provider's status means for the run. Only the message of a 400 is about the caller's own doing.
fn failure(status: u16, message: &str) -> ModelError {
    let text: String = message.chars().take(MAX_MESSAGE_CHARS).collect();
    match status {
        400 if !text.is_empty() => error(FailureCode::BadRequest, &text, false),
        400 => error(FailureCode::BadRequest, "The model provider found the request invalid", false),
        401 => error(FailureCode::InvalidApiKey, "The model provider is not set up correctly", false),
        404 => error(FailureCode::ModelNotSupported, "The model provider does not serve this model", false),
        413 => error(FailureCode::ApiError, "The request is too large for the model provider", false),
        429 => error(FailureCode::RateLimited, "The model provider limits how often it is called", true),
        500 => error(FailureCode::ApiError, "Something went wrong at the model provider", true),
        502 | 503 | 504 | 529 => error(FailureCode::ServiceUnavailable, "The model provider is not available", true),
        _ => error(FailureCode::ApiError, "The model provider refused the request", false),
    }
}

fn unreached(text: &str) -> ModelError {
    error(FailureCode::ProviderUnreachable, text, true)
}

fn malformed() -> ModelError {
    error(FailureCode::ApiError, "The model provider sent something that is not an answer", false)
}

fn error(code: FailureCode, text: &str, is_retryable: bool) -> ModelError {
    ModelError { failure: Failure::new(code, text), is_retryable, retry_after: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_event_counts_like_the_status_that_it_stands_for() {
        for (kind, status, code, is_retryable) in [
            ("invalid_request_error", 400, FailureCode::BadRequest, false),
            ("authentication_error", 401, FailureCode::InvalidApiKey, false),
            ("permission_error", 403, FailureCode::ApiError, false),
            ("not_found_error", 404, FailureCode::ModelNotSupported, false),
            ("request_too_large", 413, FailureCode::ApiError, false),
            ("rate_limit_error", 429, FailureCode::RateLimited, true),
            ("api_error", 500, FailureCode::ApiError, true),
            ("timeout_error", 504, FailureCode::ServiceUnavailable, true),
            ("overloaded_error", 529, FailureCode::ServiceUnavailable, true),
            ("unheard_of", 418, FailureCode::ApiError, false),
        ] {
            let event = Event::Error { error: json!({ "type": kind, "message": "their words" }) };
            let by_event = Answer::default().hear(event).expect_err("it ends the answer");
            for error in [by_event, failure(status, "their words")] {
                assert_eq!((error.failure.code, error.is_retryable), (code, is_retryable), "{kind}");
                assert_eq!(error.failure.message == "their words", status == 400, "only a 400 is passed on");
            }
        }
        assert_eq!(failure(400, &"é".repeat(900)).failure.message, "é".repeat(500));
    }

    #[test]
    fn blocks_are_lines_and_a_refusal_is_an_error_only_without_text() {
        let mut answer = Answer::default();
        let mut text = String::new();
        for (index, piece) in [(0, ""), (1, "a\0"), (1, "b"), (2, "\0"), (3, "c")] {
            let event = Event::Content { index, piece: Piece::Text { text: piece.into() } };
            if let Some(ModelEvent::Text(piece)) = answer.hear(event).expect("text") {
                text += &piece;
            }
        }
        assert_eq!(text, "ab\nc");
        answer.is_refusal = true;
        assert!(answer.hear(Event::MessageStop).is_ok_and(|event| event.is_none() && answer.is_whole));
        let refused = Answer { is_refusal: true, ..Answer::default() }.hear(Event::MessageStop);
        assert_eq!(refused.expect_err("no text").failure.code, FailureCode::ContentBlocked);
    }

    #[test]
    fn lines_may_be_cut_anywhere_and_are_bounded() {
        let stream = "\u{feff}event: x\r\ndata: 1\r\n\r\n: comment\ndata:2é\n\n".as_bytes();
        for size in 1..=stream.len() {
            let (mut line, mut heard) = (Vec::new(), Vec::new());
            for piece in stream.chunks(size) {
                let mut chunk = Bytes::copy_from_slice(piece);
                heard.extend(std::iter::from_fn(|| take_data(&mut line, &mut chunk).expect("within bounds")));
            }
            assert_eq!(heard, [b" 1\r\n".to_vec(), "2é\n".into()], "in pieces of {size}");
        }
        let (mut line, mut endless) = (Vec::new(), Bytes::from(vec![b'x'; MAX_EVENT_BYTES]));
        assert!(take_data(&mut line, &mut endless).is_ok());
        assert!(take_data(&mut line, &mut Bytes::from("x")).is_err());
    }
}
