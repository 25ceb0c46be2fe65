//! OpenAI's Chat Completions API, and everybody who speaks it: Azure OpenAI, Ollama, vLLM and others. One call of
//! `stream` is one request; nothing is tried again here.
//!
//! `top_k` is not sent: the API has no such parameter, and OpenAI refuses what it does not know.

use std::collections::VecDeque;

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::stream::{Answer, Text};
use super::transport::{Transport, below, secret_header};
use super::{failures, without_nulls};
use crate::domain::models::Endpoint;
use crate::error::Result;
use crate::ports::models::{ModelError, ModelEvent, ModelProvider, ModelRequest, ModelStream};

pub(crate) struct OpenAiProvider {
    transport: Transport,
    headers: HeaderMap,
    endpoint: Endpoint,
    /// What the limit of the answer is called: the newer models of OpenAI refuse the old name, and many servers of
    /// others do not know the new one.
    max_tokens: &'static str,
}

impl OpenAiProvider {
    /// Some servers of one's own want no key.
    pub(crate) fn new(transport: Transport, endpoint: Endpoint, api_key: Option<&SecretString>) -> Result<Self> {
        let host = below(&endpoint.base_url, &[])?.host_str().map(str::to_owned);
        let is_azure = endpoint.api_version.is_some();
        let is_openai = is_azure || host.as_deref() == Some("api.openai.com");
        let mut headers = HeaderMap::new();
        match api_key {
            Some(key) if is_azure => headers.insert("api-key", secret_header("", key)?),
            Some(key) => headers.insert(AUTHORIZATION, secret_header("Bearer ", key)?),
            None => None,
        };
        let max_tokens = if is_openai { "max_completion_tokens" } else { "max_tokens" };
        Ok(Self { transport, headers, endpoint, max_tokens })
    }

    /// Azure names the model in the path, and the version of the API in the query.
    fn url(&self, azure: &[&str], others: &[&str]) -> Result<Url, ModelError> {
        let Endpoint { base_url, api_version } = &self.endpoint;
        let segments = if api_version.is_some() { azure } else { others };
        let mut url = below(base_url, segments).map_err(|_| failures::malformed())?;
        if let Some(version) = api_version {
            url.query_pairs_mut().append_pair("api-version", version);
        }
        Ok(url)
    }
}

#[async_trait]
impl ModelProvider for OpenAiProvider {
    async fn stream(&self, request: &ModelRequest) -> Result<ModelStream, ModelError> {
        let azure = ["openai", "deployments", &request.model, "chat", "completions"];
        let url = self.url(&azure, &["chat", "completions"])?;
        let call = self.transport.request(Method::POST, url, &self.headers);
        self.transport.stream::<Completion>(call.json(&body(request, self.max_tokens))).await
    }

    async fn check(&self) -> Result<(), ModelError> {
        let url = self.url(&["openai", "models"], &["models"])?;
        let call = self.transport.request(Method::GET, url, &self.headers);
        self.transport.is_granted::<Completion>(call).await
    }
}

fn body(request: &ModelRequest, max_tokens: &str) -> Value {
    let system = request.system.as_ref().map(|text| json!({ "role": "system", "content": text }));
    let prompt = json!({ "role": "user", "content": request.prompt });
    let mut body = without_nulls(json!({
        "model": request.model,
        "messages": system.into_iter().chain([prompt]).collect::<Vec<_>>(),
        "stream": true,
        "stream_options": { "include_usage": true },
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": Some(&request.stop_sequences).filter(|sequences| !sequences.is_empty()),
    }));
    body[max_tokens] = request.max_tokens.into();
    body
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Chunk {
    choices: Vec<Choice>,
    usage: Value,
    error: Value,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Choice {
    delta: Delta,
    finish_reason: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Delta {
    content: Option<String>,
    /// What the model says instead of an answer.
    refusal: Option<String>,
}

/// What was heard of an answer so far. `[DONE]` ends it; who leaves that out ends the stream after a reason was told.
#[derive(Default)]
struct Completion {
    text: Text,
    is_blocked: bool,
    is_finished: bool,
    is_whole: bool,
}

impl Answer for Completion {
    fn hear(&mut self, data: &[u8], heard: &mut VecDeque<ModelEvent>) -> Result<(), ModelError> {
        if data == b"[DONE]" {
            self.is_whole = true;
            return self.end();
        }
        let chunk: Chunk = serde_json::from_slice(data).map_err(|_| failures::malformed())?;
        if !chunk.error.is_null() {
            return Err(refused(0, &chunk.error));
        }
        heard.extend(usage(&chunk.usage));
        // The chunk with the usage has none, and neither has what Azure says of its filters before the answer.
        let Some(choice) = chunk.choices.into_iter().next() else { return Ok(()) };
        heard.extend(self.text.piece(choice.delta.content.as_deref().unwrap_or_default())?);
        self.is_blocked |= choice.delta.refusal.is_some_and(|text| !text.is_empty());
        if let Some(reason) = choice.finish_reason {
            self.is_finished = true;
            self.is_blocked |= reason == "content_filter";
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.is_whole
    }

    fn end(&self) -> Result<(), ModelError> {
        match self {
            Self { is_blocked: true, text, .. } if text.is_empty() => Err(failures::blocked()),
            Self { is_finished: true, .. } => Ok(()),
            _ => Err(failures::broken_off()),
        }
    }

    fn refusal(status: u16, body: &Value) -> ModelError {
        // Some put the error into the body itself.
        refused(status, body.get("error").unwrap_or(body))
    }
}

/// Not everybody reports any.
fn usage(report: &Value) -> Option<ModelEvent> {
    let (prompt_tokens, completion_tokens) = (report["prompt_tokens"].as_u64(), report["completion_tokens"].as_u64());
    (prompt_tokens.is_some() || completion_tokens.is_some())
        .then_some(ModelEvent::Usage { prompt_tokens, completion_tokens })
}

/// Within a stream there is no status; then what the error says of itself stands for it.
fn refused(status: u16, error: &Value) -> ModelError {
    let (kind, code) = (error["type"].as_str().unwrap_or_default(), &error["code"]);
    if *code == "content_filter" || *code == "content_policy_violation" {
        return failures::blocked();
    }
    let status = if status == 0 { status_of(kind, code) } else { status };
    let message = error["message"].as_str().or(error.as_str()).unwrap_or_default();
    failures::by_status(status, message)
}

fn status_of(kind: &str, code: &Value) -> u16 {
    let number = code.as_u64().or_else(|| code.as_str()?.parse().ok());
    if let Some(status) = number.and_then(|number| u16::try_from(number).ok()) {
        return status;
    }
    match (kind, code.as_str().unwrap_or_default()) {
        (_, "rate_limit_exceeded" | "insufficient_quota") => 429,
        (_, "invalid_api_key") => 401,
        (_, "model_not_found") => 404,
        ("invalid_request_error" | "BadRequestError", _) => 400,
        ("authentication_error", _) => 401,
        ("permission_error", _) => 403,
        ("not_found_error" | "NotFoundError", _) => 404,
        ("rate_limit_error" | "requests" | "tokens" | "insufficient_quota", _) => 429,
        ("service_unavailable_error" | "overloaded_error", _) => 503,
        ("server_error" | "api_error" | "InternalServerError", _) => 500,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::executions::FailureCode;

    fn code(chunks: &[Value]) -> Option<FailureCode> {
        let mut answer = Completion::default();
        for chunk in chunks {
            let data = chunk.as_str().map_or_else(|| chunk.to_string(), str::to_owned);
            if let Err(error) = answer.hear(data.as_bytes(), &mut VecDeque::new()) {
                return Some(error.failure.code);
            }
        }
        if answer.is_whole { None } else { answer.end().err().map(|error| error.failure.code) }
    }

    #[test]
    fn how_an_answer_may_end() {
        let text = json!({ "choices": [{ "delta": { "content": "a" } }] });
        let end = |reason: &str| json!({ "choices": [{ "delta": {}, "finish_reason": reason }] });
        let refusal = json!({ "choices": [{ "delta": { "refusal": "I cannot" } }] });
        let done = json!("[DONE]");
        assert_eq!(code(&[text.clone(), end("length"), done.clone()]), None);
        assert_eq!(code(&[text.clone(), end("stop")]), None, "not everybody says [DONE]");
        assert_eq!(code(&[end("stop"), done.clone()]), None, "nothing may be the answer");
        assert_eq!(code(&[text.clone(), end("content_filter"), done.clone()]), None, "what was told stands");
        assert_eq!(code(&[end("content_filter"), done.clone()]), Some(FailureCode::ContentBlocked));
        assert_eq!(code(&[refusal, end("stop"), done.clone()]), Some(FailureCode::ContentBlocked));
        assert_eq!(code(&[text.clone(), done]), Some(FailureCode::ProviderUnreachable), "no reason was told");
        assert_eq!(code(&[text]), Some(FailureCode::ProviderUnreachable));
        assert_eq!(code(&[]), Some(FailureCode::ProviderUnreachable));
    }

    #[test]
    fn an_error_within_the_stream_says_by_itself_what_it_is() {
        for (error, expected) in [
            (json!({ "message": "x", "type": "server_error" }), FailureCode::ApiError),
            (json!({ "message": "x", "type": "requests", "code": "rate_limit_exceeded" }), FailureCode::RateLimited),
            (json!({ "message": "x", "type": "invalid_request_error", "code": null }), FailureCode::BadRequest),
            (json!({ "message": "x", "type": "BadRequestError", "code": 400 }), FailureCode::BadRequest),
            (json!({ "message": "x", "code": "503" }), FailureCode::ServiceUnavailable),
            (json!({ "message": "x", "code": "content_filter" }), FailureCode::ContentBlocked),
            (json!("something broke"), FailureCode::ApiError),
        ] {
            assert_eq!(code(&[json!({ "error": error.clone() })]), Some(expected), "{error}");
        }
    }
}
