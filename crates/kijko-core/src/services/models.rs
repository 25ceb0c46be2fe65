//! Which model answers, and who serves it.

use crate::app::App;
use crate::domain::executions::{Failure, FailureCode};
use crate::error::{Code, Error, Result};
use crate::ports::models::Target;

/// Where a call for this model goes: the first choice, then what stands in for it.
/// Refuses with `MODEL_NOT_SUPPORTED` and `PROVIDER_NOT_CONFIGURED`.
pub(crate) fn targets(app: &App, model: &str) -> Result<Vec<Target>> {
    Ok(vec![app.models.target(model)?])
}

/// What a refusal of `targets` means for a run that was accepted already.
pub(crate) fn failure(refusal: &Error) -> Failure {
    let code = match refusal.code() {
        Code::ProviderNotConfigured => FailureCode::ProviderNotConfigured,
        _ => FailureCode::ModelNotSupported,
    };
    Failure::new(code, refusal.to_string())
}
