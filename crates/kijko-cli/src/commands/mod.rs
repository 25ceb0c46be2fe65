//! One file per noun.

use std::process::ExitCode;

use kijko_core::{App, Config};

use crate::args::Command;
use crate::exit::Failure;
use crate::output::Output;

mod config;
mod doctor;
mod keys;
mod migrate;
mod operator;
mod orgs;
mod users;
mod worker;

pub async fn run(command: Command, output: &Output) -> Result<ExitCode, Failure> {
    let config = Config::load(&[]).map_err(|error| match command {
        Command::Config(_) => Failure::Check(error),
        _ => Failure::Config(error),
    })?;
    match command {
        Command::Migrate(command) => migrate::run(&config, command, output).await,
        Command::Worker => worker::run(config).await,
        Command::Config(command) => Ok(config::run(&config, command, output)),
        Command::Doctor => doctor::run(&config, output).await,
        Command::Users(command) => with_app(config, async |app| users::run(app, command, output).await).await,
        Command::Orgs(command) => with_app(config, async |app| orgs::run(app, command, output).await).await,
        Command::Keys(command) => with_app(config, async |app| keys::run(app, command, output).await).await,
    }
}

/// What is done to an installation that can start.
async fn with_app(config: Config, work: impl AsyncFnOnce(&App) -> Result<(), Failure>) -> Result<ExitCode, Failure> {
    let app = App::connect(config).await?;
    let done = work(&app).await;
    app.close().await;
    done.map(|()| ExitCode::SUCCESS)
}
