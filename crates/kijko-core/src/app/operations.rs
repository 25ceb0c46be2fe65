//! What an administrator does to an installation that may not be able to start.

use serde::Serialize;

use super::StartError;
use crate::adapters::postgres::PgStore;
use crate::adapters::postgres::connect::Database;
use crate::config::{Config, Environment};
use crate::ports::{MigrationState, Store};

/// Where the schema stands.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum SchemaStatus {
    Current,
    Behind { missing: Vec<String> },
    Ahead { unknown: Vec<i64> },
    Changed { version: i64 },
}

impl From<MigrationState> for SchemaStatus {
    fn from(state: MigrationState) -> Self {
        match state {
            MigrationState::Current => SchemaStatus::Current,
            MigrationState::Behind(missing) => SchemaStatus::Behind { missing },
            MigrationState::Ahead(unknown) => SchemaStatus::Ahead { unknown },
            MigrationState::Changed(version) => SchemaStatus::Changed { version },
        }
    }
}

/// Brings the schema up to date as the owner; doing it twice changes nothing. Says what was missing.
pub async fn migrate(config: &Config) -> Result<SchemaStatus, StartError> {
    with_database(config, async |database| {
        let before = database.migration_state().await?;
        if let MigrationState::Behind(_) = before {
            database.migrate().await?;
        }
        Ok(before.into())
    })
    .await
}

pub async fn schema_status(config: &Config) -> Result<SchemaStatus, StartError> {
    with_database(config, async |database| Ok(database.migration_state().await?.into())).await
}

async fn with_database<T>(
    config: &Config,
    work: impl AsyncFnOnce(&Database) -> Result<T, StartError>,
) -> Result<T, StartError> {
    let database = Database::open(&config.database).await?;
    let result = work(&database).await;
    if let Some(embedded) = database.embedded {
        embedded.stop().await?;
    }
    result
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Finding {
    pub subject: &'static str,
    pub ok: bool,
    /// What was seen, and what to do about it if it is wrong.
    pub message: String,
}

/// Looks at everything that an installation needs, and says in plain words what is wrong with it.
pub async fn diagnose(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = |subject, result: Result<String, String>| {
        let ok = result.is_ok();
        let message = result.unwrap_or_else(|problem| problem);
        findings.push(Finding { subject, ok, message });
        ok
    };
    found("configuration", Ok(format!("valid, for the environment {}", config.environment.as_str())));
    found("models", super::models(config).map(|_| model_summary(config)).map_err(|e| e.to_string()));
    let random = crate::adapters::system::SystemRandom;
    found("encryption key", super::master_key(config, &random).map(|_| "usable".into()).map_err(|e| e.to_string()));
    let database = match Database::open(&config.database).await {
        Ok(database) => database,
        Err(error) => {
            found("database", Err(error.to_string()));
            return findings;
        }
    };
    let kind = if database.embedded.is_some() { "embedded" } else { "given by DATABASE_URL" };
    let state = database.migration_state().await;
    let reachable = found("database", state.as_ref().map(|_| kind.to_owned()).map_err(ToString::to_string));
    let current = state.is_ok_and(|state| {
        let current = state == MigrationState::Current;
        let text = StartError::Schema(state).to_string();
        found("schema", if current { Ok(text) } else { Err(text) })
    });
    if reachable && current {
        let store = PgStore::new(database.tenant.clone(), database.system.clone(), 3);
        match store.health().await {
            Ok(health) => {
                found(
                    "policies",
                    match health.unguarded_tables.as_slice() {
                        [] => Ok("row-level security is enabled and forced on every table".into()),
                        tables => Err(format!("row-level security is not forced on: {}", tables.join(", "))),
                    },
                );
                let text = "the login role is a superuser or has BYPASSRLS; use a plain role such as kijko_app";
                let wrong = health.bypasses_policies;
                let severe = wrong && config.environment != Environment::Local;
                found(
                    "roles",
                    match (wrong, severe) {
                        (false, _) => Ok("the login role is held by the policies".into()),
                        (true, false) => Ok(format!("{text} (allowed in local)")),
                        (true, true) => Err(text.into()),
                    },
                );
            }
            Err(error) => {
                let text = error.internal_text().unwrap_or_else(|| error.to_string());
                found("roles", Err(format!("the login role cannot work: {text}")));
            }
        }
        store.close().await;
    }
    if let Some(embedded) = database.embedded {
        embedded.stop().await.ok();
    }
    findings
}

fn model_summary(config: &Config) -> String {
    match (&config.models.anthropic_api_key, config.environment) {
        (Some(_), _) => "Anthropic is set up".into(),
        (None, Environment::Local) => "no provider key is set, so the offline provider answers".into(),
        (None, _) => "no provider key is set, so no skill can run; set ANTHROPIC_API_KEY".into(),
    }
}
