//! What an error of the database means to a caller: one function, by the name of the constraint.

use sqlx::error::DatabaseError;

use crate::error::{Code, Error};

pub(crate) fn translate(error: sqlx::Error) -> Error {
    if is_lost_connection(&error) {
        return Error::unavailable(Code::DependencyUnavailable, error);
    }
    let known = error.as_database_error().map(|e| (e.constraint().map(str::to_owned), code(e)));
    match known {
        Some((Some(constraint), _)) => by_constraint(&constraint, error),
        Some((None, code)) => by_sqlstate(&code, error),
        None => Error::internal("database", error),
    }
}

fn code(error: &(impl DatabaseError + ?Sized)) -> String {
    error.code().unwrap_or_default().into_owned()
}

fn by_constraint(constraint: &str, error: sqlx::Error) -> Error {
    match constraint {
        "skills_organization_id_user_id_name_key" => {
            Error::Conflict { code: Code::SkillNameExists, field: Some("name"), details: None }
        }
        "team_invitations_organization_id_email_key" => Error::conflict(Code::InvitationExists),
        "users_email_key" => Error::Conflict { code: Code::EmailTaken, field: Some("email"), details: None },
        "skill_executions_organization_id_skill_id_fkey" => Error::not_found(Code::SkillNotFound),
        _ => Error::internal("a constraint of the database", error),
    }
}

fn by_sqlstate(code: &str, error: sqlx::Error) -> Error {
    match code {
        // Serialisation failure, deadlock, lock not available, out of connections, out of disk, time-out.
        "40001" | "40P01" | "55P03" | "53300" | "53100" | "57014" => {
            Error::unavailable(Code::DependencyUnavailable, error)
        }
        "42501" => {
            tracing::error!(error = %error, "the database refused a statement: a policy or a grant is missing");
            Error::internal("the database refused a statement", error)
        }
        _ => Error::internal("database", error),
    }
}

/// Whether the database could not be reached or went away.
fn is_lost_connection(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Tls(_))
        || is_dead_connection(error)
}

/// Whether this one connection is gone, while a new one may work.
pub(crate) fn is_dead_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        // Shutting down, crashed, starting up.
        sqlx::Error::Database(e) => matches!(code(e.as_ref()).as_str(), "57P01" | "57P02" | "57P03"),
        _ => false,
    }
}

/// Whether a transaction was to be opened where one was open already.
pub(crate) fn is_left_open(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|e| matches!(code(e).as_str(), "25001" | "25P02"))
}

/// Whether the role that a connection wants to take does not exist.
pub(crate) fn is_unknown_role(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|e| code(e) == "22023")
}
