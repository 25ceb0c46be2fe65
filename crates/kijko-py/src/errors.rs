//! The core's errors as Python's: one class per variant, as `kijko.errors` defines them.

use kijko_core::config::ConfigError;
use kijko_core::{Error, StartError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::{Value, json};

/// What a caller in Python gets to see. What is only for us is logged here, once.
pub fn raised(error: &Error) -> PyErr {
    if let Some(internal) = error.internal_text() {
        tracing::error!(code = error.code().as_str(), error = internal, "a call from Python failed");
    }
    let (class, field, details) = match error {
        Error::Invalid { violations, .. } => {
            ("InvalidInput", violations.first().map(|v| v.field.clone()), json!({ "errors": violations }))
        }
        Error::Rejected { .. } => ("InvalidInput", None, Value::Null),
        Error::Unauthenticated { reason, .. } => {
            ("Unauthenticated", None, reason.map_or(Value::Null, |reason| json!({ "reason": reason.as_str() })))
        }
        Error::Forbidden { .. } => ("Forbidden", None, Value::Null),
        Error::NotFound { .. } | Error::Gone { .. } => ("NotFound", None, Value::Null),
        Error::Conflict { field, details, .. } => {
            ("Conflict", field.map(str::to_owned), details.clone().unwrap_or(Value::Null))
        }
        Error::Outdated { revision } => ("Conflict", None, json!({ "revision": revision })),
        Error::LimitReached { limit, used, .. } => ("LimitReached", None, json!({ "limit": limit, "used": used })),
        Error::QuotaExceeded(quota) => {
            ("LimitReached", None, json!({ "category": quota.metric, "limit": quota.limit, "used": quota.used }))
        }
        Error::BudgetExceeded(refusal) => ("LimitReached", None, refusal.details()),
        Error::RateLimited(standing) => {
            ("RateLimited", None, json!({ "limit": standing.limit, "retryAfter": standing.frees_in_seconds }))
        }
        Error::Locked { retry_after, .. } => ("RateLimited", None, json!({ "retryAfter": retry_after })),
        Error::NotConfigured { .. } | Error::Unavailable { .. } => ("Unavailable", None, Value::Null),
        Error::Internal { .. } => ("InternalError", None, Value::Null),
    };
    raise(class, &error.to_string(), error.code().as_str(), field.as_deref(), &details, error.is_retryable())
}

/// Settings that are no good, every one of them named.
pub fn misconfigured(error: &ConfigError) -> PyErr {
    let problems = json!({ "problems": error.problems() });
    raise("ConfigurationError", &error.to_string(), "CONFIGURATION_INVALID", None, &problems, false)
}

/// Kijko cannot start; the sentence says what to do.
pub fn not_started(error: &StartError) -> PyErr {
    raise("StartError", &error.to_string(), "CANNOT_START", None, &Value::Null, false)
}

/// A client that cannot be used, or not any more.
pub fn unusable(message: &str, code: &str) -> PyErr {
    raise("ClientUnusable", message, code, None, &Value::Null, false)
}

fn raise(class: &str, message: &str, code: &str, field: Option<&str>, details: &Value, retryable: bool) -> PyErr {
    Python::attach(|py| {
        let made = (|| {
            let members = PyDict::new(py);
            members.set_item("code", code)?;
            members.set_item("field", field)?;
            let details = if details.is_null() { "{}".to_owned() } else { details.to_string() };
            members.set_item("details", py.import("json")?.call_method1("loads", (details,))?)?;
            members.set_item("retryable", retryable)?;
            py.import("kijko.errors")?.getattr(class)?.call((message,), Some(&members))
        })();
        made.map_or_else(|broken| broken, PyErr::from_value)
    })
}
