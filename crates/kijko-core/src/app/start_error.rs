//! Why Kijko cannot start, in plain words for whoever started it.

use std::path::Path;

use crate::adapters::postgres::embedded::EmbeddedError;
use crate::error::{Error, Source};
use crate::ports::MigrationState;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Embedded(#[from] EmbeddedError),

    #[error("{0} is not a PostgreSQL URL such as postgres://user:password@host/kijko")]
    DatabaseUrl(&'static str),

    #[error("the database does not answer as it should: {0}")]
    Database(Source),

    #[error("{}", schema(.0))]
    Schema(MigrationState),

    #[error(
        "the role of DATABASE_URL is a superuser or has BYPASSRLS, so row-level security does not hold it; \
         use a plain login role that is a member of kijko_tenant and kijko_system"
    )]
    BypassesPolicies,

    #[error("{name}: {problem}")]
    Secret { name: &'static str, problem: String },

    #[error("cannot use {path}: {error}")]
    File { path: String, error: std::io::Error },

    #[error("MODEL_CATALOGUE: {0}")]
    Catalogue(toml::de::Error),
}

impl StartError {
    pub(crate) fn database(error: impl Into<Source>) -> Self {
        let error = error.into();
        // Ours says little on purpose; who starts the server may hear all of it.
        let full = error.downcast_ref::<Error>().and_then(Error::internal_text);
        StartError::Database(full.map_or(error, Source::from))
    }

    pub(crate) fn secret(name: &'static str, problem: impl ToString) -> Self {
        StartError::Secret { name, problem: problem.to_string() }
    }

    pub(crate) fn file(path: &Path, error: std::io::Error) -> Self {
        StartError::File { path: path.display().to_string(), error }
    }
}

fn schema(state: &MigrationState) -> String {
    match state {
        MigrationState::Current => "the schema is up to date".into(),
        MigrationState::Behind(missing) => format!(
            "the database is behind this program, which needs: {}; run `kijko migrate up` as the owner first",
            missing.join(", ")
        ),
        MigrationState::Ahead(versions) if versions.is_empty() => {
            "the job engine in the database is newer than the one of this program; start a newer Kijko".into()
        }
        MigrationState::Ahead(versions) => format!(
            "the database was migrated by a newer Kijko (it has {versions:?}); start that version instead of this one"
        ),
        MigrationState::Changed(version) => format!(
            "migration {version} in the database is not the one of this program; use the program that made the database"
        ),
    }
}
