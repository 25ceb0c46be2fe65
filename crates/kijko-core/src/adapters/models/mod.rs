//! Providers of language models, each a thin adapter of its own: what is sent, and what the answer means. What they
//! share stands once: `transport` speaks HTTP, `stream` reads server-sent events, `failures` says what went wrong.
//!
//! A library for many providers was weighed: genai 0.7.2 speaks all of these. It takes a Gemini stream that ends
//! before its `finishReason` for a whole answer, so a connection that was closed early would complete a run with half
//! a text; it keeps a line and the body of a refusal however long they are; and which failure may be tried again would
//! still be read from statuses and bodies here. What is left to such a library are three bodies of JSON.

pub(crate) mod anthropic;
mod failures;
pub(crate) mod google;
pub(crate) mod offline;
pub(crate) mod openai;
pub(crate) mod own;
mod stream;
mod transport;

pub(crate) use transport::Transport;

/// The body of a call, with only those members that are set.
fn without_nulls(mut body: serde_json::Value) -> serde_json::Value {
    if let Some(members) = body.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    body
}
