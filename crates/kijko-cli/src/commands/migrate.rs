//! `kijko migrate`.

use std::process::ExitCode;

use kijko_core::Config;
use kijko_core::app::operations::{self, SchemaStatus};

use crate::args::Migrate;
use crate::exit::Failure;
use crate::output::Output;

pub async fn run(config: &Config, command: Migrate, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        Migrate::Up => {
            let before = operations::migrate(config).await?;
            output.answer(&before, || match &before {
                SchemaStatus::Behind { missing } => missing.iter().map(|m| format!("applied {m}")).collect(),
                other => describe(other),
            });
            if refused(&before) { Err(Failure::Unhealthy) } else { Ok(ExitCode::SUCCESS) }
        }
        Migrate::Status => {
            let status = operations::schema_status(config).await?;
            output.answer(&status, || describe(&status));
            if matches!(status, SchemaStatus::Current) { Ok(ExitCode::SUCCESS) } else { Err(Failure::Unhealthy) }
        }
    }
}

/// Migrating cannot help there.
fn refused(status: &SchemaStatus) -> bool {
    matches!(status, SchemaStatus::Ahead { .. } | SchemaStatus::Changed { .. })
}

fn describe(status: &SchemaStatus) -> Vec<String> {
    match status {
        SchemaStatus::Current => vec!["The schema is up to date.".to_owned()],
        SchemaStatus::Behind { missing } => {
            let head = "The schema is behind; `kijko migrate up` would apply:".to_owned();
            std::iter::once(head).chain(missing.iter().map(|name| format!("  {name}"))).collect()
        }
        SchemaStatus::Ahead { unknown } => {
            vec![format!("The database was migrated by a newer Kijko (it has {unknown:?}); use that version.")]
        }
        SchemaStatus::Changed { version } => {
            vec![format!("Migration {version} in the database is not the one of this program.")]
        }
    }
}
