//! What a provider's failure means for a run: its code, a sentence for its owner, and whether trying again may help.

use crate::domain::executions::{Failure, FailureCode};
use crate::ports::models::ModelError;

const MAX_MESSAGE_CHARS: usize = 500;

/// By status. Only the message of a 400 is passed on: it is about the caller's own doing.
pub(super) fn by_status(status: u16, message: &str) -> ModelError {
    let text: String = message.chars().take(MAX_MESSAGE_CHARS).collect();
    match status {
        400 if !text.is_empty() => failure(FailureCode::BadRequest, &text, false),
        400 => failure(FailureCode::BadRequest, "The model provider found the request invalid", false),
        401 => failure(FailureCode::InvalidApiKey, "The model provider is not set up correctly", false),
        404 => failure(FailureCode::ModelNotSupported, "The model provider does not serve this model", false),
        413 => failure(FailureCode::ApiError, "The request is too large for the model provider", false),
        429 => failure(FailureCode::RateLimited, "The model provider limits how often it is called", true),
        500 => failure(FailureCode::ApiError, "Something went wrong at the model provider", true),
        502 | 503 | 504 | 529 => failure(FailureCode::ServiceUnavailable, "The model provider is not available", true),
        _ => failure(FailureCode::ApiError, "The model provider refused the request", false),
    }
}

pub(super) fn unreached(text: &str) -> ModelError {
    failure(FailureCode::ProviderUnreachable, text, true)
}

pub(super) fn broken_off() -> ModelError {
    unreached("The model provider broke off its answer")
}

pub(super) fn blocked() -> ModelError {
    failure(FailureCode::ContentBlocked, "The model refused to answer", false)
}

pub(super) fn malformed() -> ModelError {
    failure(FailureCode::ApiError, "The model provider sent something that is not an answer", false)
}

pub(super) fn too_long() -> ModelError {
    failure(FailureCode::ApiError, "The answer of the model is too long", false)
}

fn failure(code: FailureCode, text: &str, is_retryable: bool) -> ModelError {
    ModelError { failure: Failure::new(code, text), is_retryable, retry_after: None }
}
