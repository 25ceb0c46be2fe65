//! OpenAI's Chat Completions API, as many servers speak it below `/compatible/v1`, and as Azure does below `/azure`:
//! its answers, and what it would refuse.

use serde_json::{Value, json};

use super::replies::{Part, Reply, Then};
use super::{Call, State};

/// The key that the double accepts as its own.
pub const KEY: &str = "sk-proj-double-9c5a3e7f1b2d8460";
pub const AZURE_VERSION: &str = "2024-10-21";

/// One choice, streamed in these pieces, then the usage and the mark at the end.
pub fn text(pieces: &[&str], prompt_tokens: u64, completion_tokens: u64) -> Reply {
    ended(pieces, "stop", Some((prompt_tokens, completion_tokens)))
}

/// Ended for this reason; without usage as servers do it that do not know `stream_options`.
pub fn ended(pieces: &[&str], reason: &str, usage: Option<(u64, u64)>) -> Reply {
    let mut reply = begun(pieces);
    reply.parts.push(chunk(json!([{ "index": 0, "delta": {}, "finish_reason": reason }]), Value::Null));
    if let Some((prompt, completion)) = usage {
        let usage = json!({ "prompt_tokens": prompt, "completion_tokens": completion,
            "total_tokens": prompt + completion, "prompt_tokens_details": { "cached_tokens": 0 } });
        reply.parts.push(chunk(json!([]), usage));
    }
    reply.parts.push(done());
    reply
}

/// What Azure says of its filters before the answer, and in every piece of it.
pub fn filtered(mut reply: Reply) -> Reply {
    let filters = json!([{ "prompt_index": 0, "content_filter_results": { "hate": { "filtered": false } } }]);
    reply.parts.insert(0, Part::Data(json!({ "id": "", "choices": [], "prompt_filter_results": filters })));
    reply
}

/// The model says why it does not answer.
pub fn refusal(words: &str) -> Reply {
    let delta = json!([{ "index": 0, "delta": { "refusal": words }, "finish_reason": null }]);
    let mut reply = ended(&[], "stop", Some((30, 2)));
    reply.parts.insert(1, chunk(delta, Value::Null));
    reply
}

/// The response ends in good order, but before the answer does.
pub fn begun(pieces: &[&str]) -> Reply {
    let first = json!({ "role": "assistant", "content": "", "refusal": null });
    let deltas = [first].into_iter().chain(pieces.iter().map(|piece| json!({ "content": piece })));
    let choices = deltas.map(|delta| json!([{ "index": 0, "delta": delta, "finish_reason": null }]));
    Reply::stream(choices.map(|choices| chunk(choices, Value::Null)).collect(), Then::End)
}

/// The last event is missing, as some servers have it.
pub fn without_done(mut reply: Reply) -> Reply {
    reply.parts.pop();
    reply
}

pub fn error(status: u16, message: &str) -> Reply {
    Reply::status(status, &json!({ "error": error_of(status, message) }).to_string())
}

/// Azure's filter refuses the prompt.
pub fn blocked_prompt() -> Reply {
    let error = json!({ "message": "The response was filtered", "type": null, "param": "prompt",
        "code": "content_filter", "status": 400, "innererror": { "code": "ResponsibleAIPolicyViolation" } });
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
    reply.parts.insert(1, Part::Raw(b"data: {\"choices\": [{\"delta\n\n".to_vec()));
    reply
}

fn chunk(choices: Value, usage: Value) -> Part {
    Part::Data(json!({ "id": "chatcmpl-double", "object": "chat.completion.chunk", "created": 1_753_357_673,
        "model": "double", "system_fingerprint": "fp_double", "choices": choices, "usage": usage }))
}

fn done() -> Part {
    Part::Raw(b"data: [DONE]\n\n".to_vec())
}

fn error_of(status: u16, message: &str) -> Value {
    let (kind, code) = match status {
        400 => ("invalid_request_error", Value::Null),
        401 => ("invalid_request_error", json!("invalid_api_key")),
        404 => ("invalid_request_error", json!("model_not_found")),
        429 => ("requests", json!("rate_limit_exceeded")),
        503 => ("service_unavailable_error", Value::Null),
        _ => ("server_error", Value::Null),
    };
    json!({ "message": message, "type": kind, "param": null, "code": code })
}

pub(super) fn own_answer(call: &Call, state: &State) -> Option<Reply> {
    let azure = call.path.starts_with("/azure");
    let bearer = call.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let key = if azure { call.header("api-key") } else { bearer };
    if !key.is_some_and(|key| state.accepts(key)) {
        return Some(error(401, "Incorrect API key provided"));
    }
    let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
    let chat = if azure { "/azure/openai/deployments/" } else { "/compatible/v1/chat/completions" };
    match (call.method.as_str(), path) {
        _ if azure && query != format!("api-version={AZURE_VERSION}") => return Some(error(404, "Resource not found")),
        ("GET", "/compatible/v1/models" | "/azure/openai/models") => {
            return Some(Reply::status(200, r#"{"object":"list","data":[]}"#));
        }
        ("POST", path) if path.starts_with(chat) && path.ends_with("/chat/completions") => {}
        _ => return Some(error(404, "Not found")),
    }
    let missing = ["model", "messages", "stream"].into_iter().find(|name| call.body.get(name).is_none());
    let unknown = call.body.as_object()?.iter().find(|(name, value)| !is_member(azure, name, value));
    let problem = unknown.map(|(name, value)| format!("Unrecognized request argument supplied: {name}: {value}"));
    Some(error(400, &problem.or(missing.map(|name| format!("you must provide a {name} parameter")))?))
}

fn is_member(azure: bool, name: &str, value: &Value) -> bool {
    let is_message = |message: &Value| {
        message["content"].as_str().is_some_and(|text| !text.is_empty())
            && (message["role"] == "user" || message["role"] == "system")
    };
    match name {
        "model" => value.as_str().is_some_and(|text| !text.is_empty()),
        "messages" => value.as_array().is_some_and(|messages| !messages.is_empty() && messages.iter().all(is_message)),
        "stream" => value == true,
        "stream_options" => *value == json!({ "include_usage": true }),
        "temperature" => value.as_f64().is_some_and(|t| (0.0..=2.0).contains(&t)),
        "top_p" => value.as_f64().is_some_and(|share| (0.0..=1.0).contains(&share)),
        "stop" => value.as_array().is_some_and(|stops| !stops.is_empty()),
        // Each knows one of the two names.
        "max_tokens" => !azure && value.as_u64().is_some_and(|number| number >= 1),
        "max_completion_tokens" => azure && value.as_u64().is_some_and(|number| number >= 1),
        _ => false,
    }
}
