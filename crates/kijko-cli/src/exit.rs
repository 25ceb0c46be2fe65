//! What went wrong, and the exit code that tells it to scripts (sysexits).

use std::process::ExitCode;

use kijko_core::config::ConfigError;
use kijko_core::{Error, StartError};
use serde_json::{Value, json};

pub enum Failure {
    Config(ConfigError),
    /// The same, where finding it out was the command.
    Check(ConfigError),
    Start(StartError),
    Core(Error),
    /// It was called in a way that it does not do anything for.
    Usage(String),
    /// The command worked, and its answer is no.
    Unhealthy,
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Failure::Start(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Core(error)
    }
}

impl Failure {
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Failure::Config(_) => 78,
            Failure::Start(_) => 69,
            Failure::Core(error) => core_code(error),
            Failure::Usage(_) => 64,
            Failure::Check(_) | Failure::Unhealthy => 1,
        })
    }

    /// For people.
    pub fn text(&self) -> Option<String> {
        match self {
            Failure::Config(error) | Failure::Check(error) => Some(format!("The configuration is not valid:\n{error}")),
            Failure::Start(error) => Some(error.to_string()),
            Failure::Core(error) => Some(text(error)),
            Failure::Usage(text) => Some(text.clone()),
            Failure::Unhealthy => None,
        }
    }

    /// For programs.
    pub fn json(&self) -> Option<Value> {
        match self {
            Failure::Config(error) | Failure::Check(error) => {
                Some(json!({ "code": "INVALID_CONFIGURATION", "problems": error.problems() }))
            }
            Failure::Core(error) => Some(json!({ "code": error.code().as_str(), "message": error.to_string() })),
            Failure::Usage(text) => Some(json!({ "code": "USAGE", "message": text })),
            Failure::Start(error) => Some(json!({ "code": "CANNOT_START", "message": error.to_string() })),
            Failure::Unhealthy => None,
        }
    }
}

/// With all that a person can do something about.
fn text(error: &Error) -> String {
    match error {
        Error::Invalid { violations, .. } => {
            violations.iter().map(|violation| violation.message.as_str()).collect::<Vec<_>>().join("\n")
        }
        Error::Conflict { details: Some(details), .. } => format!("{error}: {details}"),
        _ => error.internal_text().unwrap_or_else(|| error.to_string()),
    }
}

fn core_code(error: &Error) -> u8 {
    match error {
        Error::Invalid { .. } | Error::Rejected { .. } => 65,
        Error::NotFound { .. } | Error::Gone { .. } => 66,
        Error::LimitReached { .. }
        | Error::QuotaExceeded(_)
        | Error::BudgetExceeded(_)
        | Error::NotConfigured { .. } => 69,
        Error::Internal { .. } => 70,
        Error::Conflict { .. } | Error::Outdated { .. } => 73,
        Error::Unavailable { .. } | Error::RateLimited(_) | Error::Locked { .. } => 75,
        Error::Unauthenticated { .. } | Error::Forbidden { .. } => 77,
    }
}
