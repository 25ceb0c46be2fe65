//! Anthropic's Messages API. One call of `stream` is one request; nothing is tried again here.

use std::collections::{HashMap, VecDeque};

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::stream::{Answer, Text};
use super::transport::{Transport, below, secret_header};
use super::{failures, without_nulls};
use crate::error::Result;
use crate::ports::models::{ModelError, ModelEvent, ModelProvider, ModelRequest, ModelStream};

const PROMPT_TOKENS: [&str; 3] = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"];
const COMPLETION_TOKENS: &str = "output_tokens";

pub(crate) struct AnthropicProvider {
    transport: Transport,
    headers: HeaderMap,
    messages: Url,
    models: Url,
}

impl AnthropicProvider {
    pub(crate) fn new(transport: Transport, base_url: &str, api_key: &SecretString) -> Result<Self> {
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", secret_header("", api_key)?);
        headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
        let messages = below(base_url, &["v1", "messages"])?;
        let models = below(base_url, &["v1", "models"])?;
        Ok(Self { transport, headers, messages, models })
    }
}

#[async_trait]
impl ModelProvider for AnthropicProvider {
    async fn stream(&self, request: &ModelRequest) -> Result<ModelStream, ModelError> {
        let call = self.transport.request(Method::POST, self.messages.clone(), &self.headers);
        self.transport.stream::<Message>(call.json(&body(request))).await
    }

    async fn check(&self) -> Result<(), ModelError> {
        let call = self.transport.request(Method::GET, self.models.clone(), &self.headers);
        self.transport.is_granted::<Message>(call).await
    }
}

fn body(request: &ModelRequest) -> Value {
    without_nulls(json!({
        "model": request.model,
        "max_tokens": request.max_tokens,
        "system": request.system,
        "messages": [{ "role": "user", "content": request.prompt }],
        "stream": true,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop_sequences": Some(&request.stop_sequences).filter(|sequences| !sequences.is_empty()),
    }))
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
struct Message {
    usage: HashMap<&'static str, u64>,
    /// The last block that text came from.
    text_block: Option<u64>,
    text: Text,
    is_refusal: bool,
    is_whole: bool,
}

impl Answer for Message {
    fn hear(&mut self, data: &[u8], heard: &mut VecDeque<ModelEvent>) -> Result<(), ModelError> {
        match serde_json::from_slice(data).map_err(|_| failures::malformed())? {
            Event::MessageStart { message } => heard.push_back(self.usage(&message["usage"])),
            Event::Content { index, piece: Piece::Text { text } } => heard.extend(self.text(index, text)?),
            Event::MessageDelta { delta, usage } => {
                self.is_refusal |= delta["stop_reason"] == "refusal";
                heard.push_back(self.usage(&usage));
            }
            Event::MessageStop if self.is_refusal && self.text.is_empty() => return Err(failures::blocked()),
            Event::MessageStop => self.is_whole = true,
            Event::Error { error } => {
                let text = |name| error[name].as_str().unwrap_or_default();
                return Err(failures::by_status(status_of(text("type")), text("message")));
            }
            Event::Content { piece: Piece::Other, .. } | Event::Other => {}
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.is_whole
    }

    fn refusal(status: u16, body: &Value) -> ModelError {
        failures::by_status(status, body["error"]["message"].as_str().unwrap_or_default())
    }
}

impl Message {
    /// Blocks are joined by line breaks.
    fn text(&mut self, block: u64, mut text: String) -> Result<Option<ModelEvent>, ModelError> {
        if text.trim_matches('\0').is_empty() {
            return Ok(None);
        }
        if self.text_block.replace(block).is_some_and(|last| last != block) {
            text.insert(0, '\n');
        }
        self.text.piece(&text)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::executions::FailureCode;

    fn hear(answer: &mut Message, event: &Value) -> Result<String, ModelError> {
        let mut heard = VecDeque::new();
        answer.hear(event.to_string().as_bytes(), &mut heard)?;
        let texts = heard.into_iter().filter_map(|event| match event {
            ModelEvent::Text(text) => Some(text),
            ModelEvent::Usage { .. } => None,
        });
        Ok(texts.collect())
    }

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
            let body = json!({ "type": "error", "error": { "type": kind, "message": "their words" } });
            let by_event = hear(&mut Message::default(), &body).expect_err("it ends the answer");
            for error in [by_event, Message::refusal(status, &body)] {
                assert_eq!((error.failure.code, error.is_retryable), (code, is_retryable), "{kind}");
                assert_eq!(error.failure.message == "their words", status == 400, "only a 400 is passed on");
            }
        }
        assert_eq!(failures::by_status(400, &"é".repeat(900)).failure.message, "é".repeat(500));
    }

    #[test]
    fn blocks_are_lines_and_a_refusal_is_an_error_only_without_text() {
        let mut answer = Message::default();
        let mut text = String::new();
        for (index, piece) in [(0, ""), (1, "a\0"), (1, "b"), (2, "\0"), (3, "c")] {
            let delta = json!({ "type": "text_delta", "text": piece });
            let event = json!({ "type": "content_block_delta", "index": index, "delta": delta });
            text += &hear(&mut answer, &event).expect("text");
        }
        assert_eq!(text, "ab\nc");
        answer.is_refusal = true;
        let stop = json!({ "type": "message_stop" });
        assert!(hear(&mut answer, &stop).is_ok() && answer.is_whole);
        let refused = hear(&mut Message { is_refusal: true, ..Message::default() }, &stop);
        assert_eq!(refused.expect_err("no text").failure.code, FailureCode::ContentBlocked);
    }
}
