//! What an administrator does to an installation that may not be able to start.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::StartError;
use crate::adapters::postgres::PgStore;
use crate::adapters::postgres::connect::Database;
use crate::adapters::sealing::MasterKey;
use crate::adapters::system::{SystemClock, SystemRandom};
use crate::config::{Config, Environment};
use crate::domain::models::Provider;
use crate::ports::clock::Clock;
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

const PATIENCE_WITH_PROVIDERS: Duration = Duration::from_secs(10);

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
    let random = SystemRandom;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let key = super::master_key(config, &random);
    let mut findings = vec![
        Finding::good("configuration", format!("valid, for the environment {}", config.environment.as_str())),
        Finding::of("encryption key", key.as_ref().map(|_| "usable".to_owned())),
    ];
    findings.extend(diagnose_models(config, &clock).await);
    match Database::open(&config.database).await {
        Ok(database) => {
            findings.extend(diagnose_database(config, &database, key.ok()).await);
            if let Some(embedded) = database.embedded {
                embedded.stop().await.ok();
            }
        }
        Err(error) => findings.push(Finding::bad("database", error)),
    }
    findings
}

/// Asks every provider whether it takes our key.
async fn diagnose_models(config: &Config, clock: &Arc<dyn Clock>) -> Vec<Finding> {
    let models = match super::models::connect(config, clock) {
        Ok(models) => models,
        Err(problem) => return vec![Finding::bad("models", problem)],
    };
    let mut findings = Vec::new();
    for (name, provider) in models.providers() {
        let answer = tokio::time::timeout(PATIENCE_WITH_PROVIDERS, provider.check()).await;
        findings.push(match (name, answer) {
            (Provider::Offline, _) => {
                Finding::good("models", "no provider key is set, so the offline provider answers")
            }
            (name, Ok(Ok(()))) => Finding::good("models", format!("{} is there and takes the key", name.as_str())),
            (name, Ok(Err(error))) => Finding::bad("models", format!("{}: {}", name.as_str(), error.failure.message)),
            (name, Err(_)) => Finding::bad("models", format!("{} does not answer", name.as_str())),
        });
    }
    if findings.is_empty() {
        findings.push(Finding::good(
            "models",
            "no provider key is set, so skills run with keys of their organisations only; set ANTHROPIC_API_KEY",
        ));
    }
    findings
}

async fn diagnose_database(config: &Config, database: &Database, key: Option<MasterKey>) -> Vec<Finding> {
    let kind = if database.embedded.is_some() { "embedded" } else { "given by DATABASE_URL" };
    let state = match database.migration_state().await {
        Ok(state) => state,
        Err(error) => return vec![Finding::bad("database", error)],
    };
    let mut findings = vec![Finding::good("database", kind)];
    if state != MigrationState::Current {
        findings.push(Finding::bad("schema", StartError::Schema(state)));
        return findings;
    }
    findings.push(Finding::good("schema", "up to date"));
    let store = PgStore::new(database.tenant.clone(), database.system.clone(), 3);
    findings.push(match store.health().await.map(|health| health.unguarded_tables) {
        Ok(tables) if tables.is_empty() => Finding::good("policies", "row-level security is forced on every table"),
        Ok(tables) => Finding::bad("policies", format!("row-level security is not forced on: {}", tables.join(", "))),
        Err(error) => Finding::bad("policies", StartError::database(error)),
    });
    findings.push(match store.bypasses_policies().await {
        Ok(false) => Finding::good("roles", "the login roles are held by the policies"),
        Ok(true) if config.environment == Environment::Local => {
            Finding::good("roles", format!("{} (allowed in local)", StartError::BypassesPolicies))
        }
        Ok(true) => Finding::bad("roles", StartError::BypassesPolicies),
        Err(error) => Finding::bad("roles", StartError::database(error)),
    });
    if let Some(key) = key {
        let random = Arc::new(SystemRandom);
        let made = super::access_tokens(config, &Arc::new(key), &store, &SystemClock, random).await;
        findings.push(Finding::of("signing key", made.map(|_| "usable".to_owned())));
    }
    store.close().await;
    findings
}

impl Finding {
    fn good(subject: &'static str, message: impl Into<String>) -> Self {
        Self { subject, ok: true, message: message.into() }
    }

    fn bad(subject: &'static str, problem: impl ToString) -> Self {
        Self { subject, ok: false, message: problem.to_string() }
    }

    fn of(subject: &'static str, result: Result<String, impl ToString>) -> Self {
        match result {
            Ok(message) => Self::good(subject, message),
            Err(problem) => Self::bad(subject, problem),
        }
    }
}
