//! One file per noun.

use std::process::ExitCode;

use kijko_core::Config;

use crate::args::Command;
use crate::exit::Failure;
use crate::output::Output;

mod config;
mod doctor;
mod migrate;
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
    }
}
