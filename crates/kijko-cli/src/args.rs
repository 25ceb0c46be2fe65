//! The command line.

use clap::{Parser, Subcommand};

/// Administers a Kijko installation. Settings are environment variables; see docs/operations.md.
#[derive(Parser)]
#[command(name = "kijko", version)]
pub struct Args {
    /// Answer in JSON
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Look at the database schema, or bring it up to date
    #[command(subcommand)]
    Migrate(Migrate),
    /// Run jobs without serving requests, until interrupted
    Worker,
    /// Look at the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Say in plain words what is wrong with this installation
    Doctor,
}

#[derive(Subcommand)]
pub enum Migrate {
    /// Bring the schema up to date, as the role of DATABASE_OWNER_URL
    Up,
    /// Say whether the schema is the one of this program
    Status,
}

#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Print every setting in force, secrets masked; exit 1 if one is not valid
    Check,
}
