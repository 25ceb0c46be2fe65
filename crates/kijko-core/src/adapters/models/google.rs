//! Google's Gemini API, `streamGenerateContent`. One call of `stream` is one request; nothing is tried again here.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::HeaderMap;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::stream::{Answer, Text};
use super::transport::{Transport, below, secret_header};
use super::{failures, without_nulls};
use crate::error::Result;
use crate::ports::models::{ModelError, ModelEvent, ModelProvider, ModelRequest, ModelStream};

/// Ends of a candidate that the filters decided, not the model.
const BLOCKS: [&str; 7] =
    ["SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"];

pub(crate) struct GoogleProvider {
    transport: Transport,
    headers: HeaderMap,
    base_url: String,
}

impl GoogleProvider {
    pub(crate) fn new(transport: Transport, base_url: &str, api_key: &SecretString) -> Result<Self> {
        below(base_url, &[])?;
        let mut headers = HeaderMap::new();
        // Not in the query, where it would end up in logs.
        headers.insert("x-goog-api-key", secret_header("", api_key)?);
        Ok(Self { transport, headers, base_url: base_url.to_owned() })
    }
}

#[async_trait]
impl ModelProvider for GoogleProvider {
    async fn stream(&self, request: &ModelRequest) -> Result<ModelStream, ModelError> {
        let method = format!("{}:streamGenerateContent", request.model);
        let mut url = below(&self.base_url, &["v1beta", "models", &method]).map_err(|_| failures::malformed())?;
        url.set_query(Some("alt=sse"));
        let call = self.transport.request(Method::POST, url, &self.headers);
        self.transport.stream::<Candidate>(call.json(&body(request))).await
    }

    async fn check(&self) -> Result<(), ModelError> {
        let mut url = below(&self.base_url, &["v1beta", "models"]).map_err(|_| failures::malformed())?;
        url.set_query(Some("pageSize=1"));
        let call = self.transport.request(Method::GET, url, &self.headers);
        self.transport.is_granted::<Candidate>(call).await
    }
}

fn body(request: &ModelRequest) -> Value {
    without_nulls(json!({
        "contents": [{ "role": "user", "parts": [{ "text": request.prompt }] }],
        "systemInstruction": request.system.as_ref().map(|text| json!({ "parts": [{ "text": text }] })),
        "generationConfig": without_nulls(json!({
            "temperature": request.temperature,
            "maxOutputTokens": request.max_tokens,
            "topP": request.top_p,
            "topK": request.top_k,
            "stopSequences": Some(&request.stop_sequences).filter(|sequences| !sequences.is_empty()),
        })),
    }))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Chunk {
    candidates: Vec<CandidateChunk>,
    prompt_feedback: Value,
    usage_metadata: Value,
    error: Value,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct CandidateChunk {
    content: Content,
    finish_reason: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Content {
    parts: Vec<Part>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Part {
    text: String,
    /// What the model thought on its way; not a part of the answer.
    thought: bool,
}

/// What was heard of an answer so far. There is no last event: the end of the stream ends it, once a reason was told.
#[derive(Default)]
struct Candidate {
    text: Text,
    has_begun: bool,
    is_heard: bool,
    is_blocked: bool,
    is_finished: bool,
}

impl Answer for Candidate {
    fn hear(&mut self, data: &[u8], heard: &mut VecDeque<ModelEvent>) -> Result<(), ModelError> {
        let chunk: Chunk = serde_json::from_slice(data).map_err(|_| failures::malformed())?;
        if chunk.error.is_object() {
            let status = chunk.error["code"].as_u64().and_then(|code| u16::try_from(code).ok());
            return Err(refused(status.unwrap_or(0), &chunk.error));
        }
        self.is_heard = true;
        heard.extend(usage(&chunk.usage_metadata));
        self.is_blocked |= chunk.prompt_feedback["blockReason"].is_string();
        // Only one was asked for.
        let Some(candidate) = chunk.candidates.into_iter().next() else { return Ok(()) };
        self.has_begun = true;
        for part in candidate.content.parts.iter().filter(|part| !part.thought) {
            heard.extend(self.text.piece(&part.text)?);
        }
        if let Some(reason) = candidate.finish_reason {
            self.is_finished = true;
            self.is_blocked |= BLOCKS.contains(&reason.as_str());
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        false
    }

    fn end(&self) -> Result<(), ModelError> {
        let is_empty = self.text.is_empty();
        match self {
            Self { is_blocked: true, .. } if is_empty => Err(failures::blocked()),
            // An answer in which nothing was offered is a block without a name.
            Self { is_heard: true, has_begun: false, .. } => Err(failures::blocked()),
            Self { is_finished: true, .. } | Self { is_blocked: true, .. } => Ok(()),
            _ => Err(failures::broken_off()),
        }
    }

    fn refusal(status: u16, body: &Value) -> ModelError {
        // Without server-sent events the API answers with a list.
        let body = body.get(0).unwrap_or(body);
        refused(status, &body["error"])
    }
}

/// What is left out of a report does not count as none.
fn usage(report: &Value) -> Option<ModelEvent> {
    let count = |name| report[name].as_u64();
    let prompt_tokens = count("promptTokenCount");
    // Thoughts are billed as output.
    let counts = [count("candidatesTokenCount"), count("thoughtsTokenCount")];
    let completion_tokens = counts.into_iter().flatten().reduce(u64::saturating_add);
    (prompt_tokens.is_some() || completion_tokens.is_some())
        .then_some(ModelEvent::Usage { prompt_tokens, completion_tokens })
}

fn refused(status: u16, error: &Value) -> ModelError {
    let details = error["details"].as_array().map(Vec::as_slice).unwrap_or_default();
    // A bad key is told as a bad request.
    let is_bad_key = details.iter().any(|detail| detail["reason"] == "API_KEY_INVALID");
    let status = if is_bad_key { 401 } else { status };
    let delay = details.iter().find_map(|detail| detail["retryDelay"].as_str());
    // "34.07s"; rounded up, since too early is refused again.
    let seconds = delay.and_then(|text| text.trim_end_matches('s').split('.').next()?.parse::<u64>().ok());
    let message = error["message"].as_str().unwrap_or_default();
    ModelError { retry_after: seconds.map(|s| Duration::from_secs(s + 1)), ..failures::by_status(status, message) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::executions::FailureCode;

    fn answer(chunks: &[Value]) -> (String, Result<(), ModelError>) {
        let mut answer = Candidate::default();
        let mut heard = VecDeque::new();
        for chunk in chunks {
            if let Err(error) = answer.hear(chunk.to_string().as_bytes(), &mut heard) {
                return (String::new(), Err(error));
            }
        }
        let texts = heard.into_iter().filter_map(|event| match event {
            ModelEvent::Text(text) => Some(text),
            ModelEvent::Usage { .. } => None,
        });
        (texts.collect(), answer.end())
    }

    #[test]
    fn how_an_answer_may_end() {
        let text = |text: &str| json!({ "candidates": [{ "content": { "parts": [{ "text": text }] } }] });
        let end = |reason: &str| json!({ "candidates": [{ "finishReason": reason }] });
        let thought = json!({ "candidates": [{ "content": { "parts": [{ "text": "hm", "thought": true }] } }] });
        let blocked = json!({ "promptFeedback": { "blockReason": "SAFETY" }, "usageMetadata": {} });
        let code = |chunks: &[Value]| answer(chunks).1.err().map(|error| error.failure.code);
        assert_eq!(answer(&[thought.clone(), text("a"), text("b\0"), end("STOP")]).0, "ab", "thoughts are not told");
        assert_eq!(code(&[text("a"), end("MAX_TOKENS")]), None);
        assert_eq!(code(&[end("STOP")]), None, "nothing may be the answer");
        assert_eq!(code(&[text("a"), end("SAFETY")]), None, "what was told before the block stands");
        assert_eq!(code(&[thought, end("SAFETY")]), Some(FailureCode::ContentBlocked));
        assert_eq!(code(&[blocked]), Some(FailureCode::ContentBlocked));
        assert_eq!(code(&[json!({ "usageMetadata": {} })]), Some(FailureCode::ContentBlocked), "no candidate");
        assert_eq!(code(&[text("a")]), Some(FailureCode::ProviderUnreachable), "no reason was told, so it was cut");
        assert_eq!(code(&[]), Some(FailureCode::ProviderUnreachable));
    }

    #[test]
    fn a_bad_key_is_not_the_callers_doing_and_waits_are_found_in_the_details() {
        let body = json!([{ "error": { "code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT",
            "details": [{ "@type": "x/ErrorInfo", "reason": "API_KEY_INVALID" }] } }]);
        assert_eq!(Candidate::refusal(400, &body).failure.code, FailureCode::InvalidApiKey);
        let body = json!({ "error": { "details": [{ "@type": "x/RetryInfo", "retryDelay": "34.07s" }] } });
        let error = Candidate::refusal(429, &body);
        assert_eq!((error.failure.code, error.retry_after), (FailureCode::RateLimited, Some(Duration::from_secs(35))));
    }
}
