//! Anthropic's Messages API: its answers, in the constructors of `Reply`, and what it would refuse.

use serde_json::{Value, json};

use super::replies::{Part, Reply, Then};
use super::{Call, State};

/// The only key that the double accepts; distinctive, so that a test can search logs and answers for it.
pub const API_KEY: &str = "sk-ant-double-7f3c1e9a5b2d4860";

impl Reply {
    // Whole answers

    /// One block of text, streamed in these pieces; without pieces an empty answer.
    pub fn text(pieces: &[&str], input_tokens: u64, output_tokens: u64) -> Self {
        Self::blocks(&[pieces], input_tokens, output_tokens)
    }

    /// Several blocks of text, each streamed in its pieces.
    pub fn blocks(blocks: &[&[&str]], input_tokens: u64, output_tokens: u64) -> Self {
        let mut parts = vec![start(input_tokens)];
        for (index, pieces) in blocks.iter().enumerate() {
            parts.push(block_start(index));
            parts.extend(pieces.iter().map(|piece| delta(index, piece)));
            parts.push(Part::Event("content_block_stop", json!({ "type": "content_block_stop", "index": index })));
        }
        parts.extend(stop(output_tokens));
        Self::stream(parts, Then::End)
    }

    /// The model refuses, after these pieces.
    pub fn refusal(pieces: &[&str], input_tokens: u64, output_tokens: u64) -> Self {
        let reply = match pieces {
            [] => Self::blocks(&[], input_tokens, output_tokens),
            _ => Self::text(pieces, input_tokens, output_tokens),
        };
        reply.stop_reason("refusal")
    }

    /// Refused by status, in the form of the real API; the status decides about the kind of the error.
    pub fn error(status: u16, message: &str) -> Self {
        let kind = match status {
            400 => "invalid_request_error",
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            504 => "timeout_error",
            529 => "overloaded_error",
            _ => "api_error",
        };
        let error = json!({ "type": kind, "message": message });
        Self::status(status, &json!({ "type": "error", "error": error, "request_id": "req_double" }).to_string())
    }

    // Answers that break off; `pieces` come before, and may be none

    /// An `error` event within the stream.
    pub fn error_event(kind: &str, message: &str, pieces: &[&str]) -> Self {
        let error = json!({ "type": "error", "error": { "type": kind, "message": message } });
        Self::begun(pieces, Some(Part::Event("error", error)), Then::End)
    }

    /// An event whose data is not JSON; after it the answer goes on to its end, as if nothing were wrong.
    pub fn malformed(pieces: &[&str]) -> Self {
        let mut rest = b"event: content_block_delta\ndata: {\"type\":\"content_block_de\n\n".to_vec();
        rest.extend(stop(1).iter().flat_map(|part| part.bytes("\n")));
        Self::begun(pieces, Some(Part::Raw(rest)), Then::End)
    }

    /// The response ends in good order, but before the answer does.
    pub fn ends_early(pieces: &[&str]) -> Self {
        Self::begun(pieces, None, Then::End)
    }

    /// The connection is closed after the answer has begun.
    pub fn cut_after(pieces: &[&str]) -> Self {
        Self::begun(pieces, None, Then::Cut)
    }

    /// Falls silent after the answer has begun.
    pub fn hang_after(pieces: &[&str]) -> Self {
        Self::begun(pieces, None, Then::Hang)
    }

    // Variations

    /// A `ping`, an event of an unknown kind and a comment after every event but the last.
    pub fn with_pings(mut self) -> Self {
        let ping = Part::Event("ping", json!({ "type": "ping" }));
        let unknown = Part::Event("some_new_event", json!({ "type": "some_new_event", "text": "not for the answer" }));
        let noise = [ping, unknown, Part::Raw(b": a comment\n\n".to_vec())];
        let last = self.parts.pop();
        self.parts = self.parts.into_iter().flat_map(|part| [part].into_iter().chain(noise.clone())).collect();
        self.parts.extend(last);
        self
    }

    /// A further figure in the usage of the event `message_start` or `message_delta`.
    pub fn with_usage(mut self, event: &str, name: &str, tokens: u64) -> Self {
        let data = self.event(event);
        let data = if event == "message_start" { &mut data["message"] } else { data };
        data["usage"][name] = tokens.into();
        self
    }

    /// `end_turn` otherwise.
    pub fn stop_reason(mut self, reason: &str) -> Self {
        self.event("message_delta")["delta"]["stop_reason"] = reason.into();
        self
    }

    fn event(&mut self, name: &str) -> &mut Value {
        let found = self.parts.iter_mut().find_map(|part| match part {
            Part::Event(n, data) if *n == name => Some(data),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("this reply has no event {name}"))
    }

    fn begun(pieces: &[&str], last: Option<Part>, then: Then) -> Self {
        let mut parts = vec![start(25), block_start(0)];
        parts.extend(pieces.iter().map(|piece| delta(0, piece)));
        parts.extend(last);
        Self::stream(parts, then)
    }
}

fn start(input_tokens: u64) -> Part {
    let message = json!({
        "id": "msg_double", "type": "message", "role": "assistant", "model": "double", "content": [],
        "stop_reason": null, "stop_sequence": null,
        "usage": {
            "input_tokens": input_tokens, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
            "output_tokens": 1,
        },
    });
    Part::Event("message_start", json!({ "type": "message_start", "message": message }))
}

fn block_start(index: usize) -> Part {
    let data =
        json!({ "type": "content_block_start", "index": index, "content_block": { "type": "text", "text": "" } });
    Part::Event("content_block_start", data)
}

fn delta(index: usize, text: &str) -> Part {
    let delta = json!({ "type": "text_delta", "text": text });
    Part::Event("content_block_delta", json!({ "type": "content_block_delta", "index": index, "delta": delta }))
}

fn stop(output_tokens: u64) -> [Part; 2] {
    let delta = json!({ "stop_reason": "end_turn", "stop_sequence": null });
    let usage = json!({ "output_tokens": output_tokens });
    let report = json!({ "type": "message_delta", "delta": delta, "usage": usage });
    [Part::Event("message_delta", report), Part::Event("message_stop", json!({ "type": "message_stop" }))]
}

/// What the real API answers by itself: which models there are, and refusals.
pub(super) fn own_answer(call: &Call, state: &State) -> Option<Reply> {
    if !call.header("x-api-key").is_some_and(|key| state.accepts(key)) {
        return Some(Reply::error(401, "invalid x-api-key"));
    }
    match (call.method.as_str(), call.path.as_str()) {
        ("GET", "/v1/models") => return Some(Reply::status(200, r#"{"data":[],"has_more":false}"#)),
        ("POST", "/v1/messages") => {}
        _ => return Some(Reply::error(404, "Not found")),
    }
    let required = [("anthropic-version", "2023-06-01"), ("content-type", "application/json")];
    let header = required.iter().find(|(name, value)| call.header(name) != Some(value)).map(|(name, _)| *name);
    let member = ["model", "max_tokens", "messages", "stream"].into_iter().find(|name| call.body.get(name).is_none());
    if let Some(name) = header.or(member) {
        return Some(Reply::error(400, &format!("{name}: Field required")));
    }
    let (name, value) = call.body.as_object()?.iter().find(|(name, value)| !is_member(name, value))?;
    Some(Reply::error(400, &format!("{name}: {value} is not permitted")))
}

fn is_member(name: &str, value: &Value) -> bool {
    let is_words = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    match name {
        "model" | "system" => is_words(value),
        "max_tokens" | "top_k" => value.as_u64().is_some_and(|number| number >= 1),
        "temperature" | "top_p" => value.as_f64().is_some_and(|share| (0.0..=1.0).contains(&share)),
        "stop_sequences" => !items.is_empty() && items.iter().all(is_words),
        "messages" => items.first().is_some_and(|first| first["role"] == "user" && is_words(&first["content"])),
        // The double speaks in streams only.
        "stream" => value == true,
        _ => false,
    }
}
