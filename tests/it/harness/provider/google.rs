//! Google's Gemini API, `streamGenerateContent` with server-sent events: its answers, and what it would refuse.

use serde_json::{Value, json};

use super::replies::{Part, Reply, Then};
use super::{Call, State};

/// The key that the double accepts as its own.
pub const KEY: &str = "AIzaDouble-4b8e2f6a1c9d7350";

/// One candidate, streamed in these pieces; the last carries the reason, as the real API does it.
pub fn text(pieces: &[&str], prompt_tokens: u64, output_tokens: u64) -> Reply {
    ended(pieces, "STOP", json!({ "promptTokenCount": prompt_tokens, "candidatesTokenCount": output_tokens }))
}

/// Ended for this reason, with this usage in the last event.
pub fn ended(pieces: &[&str], reason: &str, usage: Value) -> Reply {
    let mut parts: Vec<_> = pieces.iter().map(|piece| piece_of(&json!([{ "text": piece }]))).collect();
    let end = json!({ "finishReason": reason, "index": 0, "content": { "role": "model", "parts": [] } });
    parts.push(event(json!({ "candidates": [end] }), usage));
    Reply::stream(parts, Then::End)
}

/// The model thinks first, and says so.
pub fn thinking(thought: &str, answer: &str, prompt_tokens: u64, output_tokens: u64, thought_tokens: u64) -> Reply {
    let usage = json!({ "promptTokenCount": prompt_tokens, "candidatesTokenCount": output_tokens,
        "thoughtsTokenCount": thought_tokens });
    let both = json!([{ "text": thought, "thought": true }, { "text": answer, "thoughtSignature": "c2lnbmVk" }]);
    let end = json!({ "finishReason": "STOP", "index": 0 });
    Reply::stream(vec![piece_of(&both), event(json!({ "candidates": [end] }), usage)], Then::End)
}

/// The prompt itself is blocked: there is no candidate at all.
pub fn blocked_prompt(prompt_tokens: u64) -> Reply {
    let feedback = json!({ "promptFeedback": { "blockReason": "PROHIBITED_CONTENT" } });
    Reply::stream(vec![event(feedback, json!({ "promptTokenCount": prompt_tokens }))], Then::End)
}

/// The response ends in good order, but before the answer does.
pub fn begun(pieces: &[&str]) -> Reply {
    let first = piece_of(&json!([{ "text": "" }]));
    let pieces = pieces.iter().map(|piece| piece_of(&json!([{ "text": piece }])));
    Reply::stream([first].into_iter().chain(pieces).collect(), Then::End)
}

pub fn error(status: u16, message: &str) -> Reply {
    Reply::status(status, &json!({ "error": error_of(status, message) }).to_string())
}

/// How the real API answers to a bad key.
pub fn bad_key() -> Reply {
    let mut error = error_of(400, "API key not valid. Please pass a valid API key.");
    let kind = "type.googleapis.com/google.rpc.ErrorInfo";
    error["details"] = json!([{ "@type": kind, "reason": "API_KEY_INVALID", "domain": "googleapis.com" }]);
    Reply::status(400, &json!({ "error": error }).to_string())
}

pub fn error_event(status: u16, message: &str, pieces: &[&str]) -> Reply {
    let mut reply = begun(pieces);
    reply.parts.push(Part::Data(json!({ "error": error_of(status, message) })));
    reply
}

/// An event whose data is not JSON, and then an end as if nothing were wrong.
pub fn malformed() -> Reply {
    let mut reply = text(&[], 1, 1);
    reply.parts.insert(0, Part::Raw(b"data: {\"candidates\": [{\"content\n\n".to_vec()));
    reply
}

fn piece_of(parts: &Value) -> Part {
    let candidate = json!({ "content": { "role": "model", "parts": parts }, "index": 0 });
    event(json!({ "candidates": [candidate] }), json!({ "promptTokenCount": 25, "candidatesTokenCount": 1 }))
}

fn event(mut data: Value, usage: Value) -> Part {
    data["usageMetadata"] = usage;
    data["modelVersion"] = "double".into();
    data["responseId"] = "double".into();
    Part::Data(data)
}

fn error_of(status: u16, message: &str) -> Value {
    let name = match status {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    };
    json!({ "code": status, "message": message, "status": name })
}

pub(super) fn own_answer(call: &Call, state: &State) -> Option<Reply> {
    if !call.header("x-goog-api-key").is_some_and(|key| state.accepts(key)) {
        return Some(bad_key());
    }
    let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
    match (call.method.as_str(), path) {
        ("GET", "/v1beta/models") => return Some(Reply::status(200, r#"{"models":[]}"#)),
        ("POST", path) if path.ends_with(":streamGenerateContent") && query == "alt=sse" => {}
        _ => return Some(error(404, "Not found")),
    }
    let words = |value: &Value| value["parts"][0]["text"].as_str().is_some_and(|text| !text.is_empty());
    let body = &call.body;
    let unknown = body.as_object()?.iter().find(|(name, value)| match name.as_str() {
        "contents" => value[0]["role"] != "user" || !words(&value[0]),
        "systemInstruction" => !words(value),
        "generationConfig" => value.as_object().is_none_or(|members| !members.iter().all(is_setting)),
        _ => true,
    });
    let problem = unknown.map(|(name, value)| format!("Invalid JSON payload received: {name}: {value}"));
    let missing = body.get("contents").is_none().then(|| "contents is not specified".to_owned());
    Some(error(400, &problem.or(missing)?))
}

fn is_setting((name, value): (&String, &Value)) -> bool {
    match name.as_str() {
        "temperature" => value.as_f64().is_some_and(|t| (0.0..=2.0).contains(&t)),
        "topP" => value.as_f64().is_some_and(|share| (0.0..=1.0).contains(&share)),
        "maxOutputTokens" | "topK" => value.as_u64().is_some_and(|number| number >= 1),
        "stopSequences" => value.as_array().is_some_and(|stops| (1..=5).contains(&stops.len())),
        _ => false,
    }
}
