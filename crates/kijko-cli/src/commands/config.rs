//! `kijko config`.

use std::process::ExitCode;

use kijko_core::Config;

use crate::args::ConfigCommand;
use crate::output::Output;

pub fn run(config: &Config, command: ConfigCommand, output: &Output) -> ExitCode {
    match command {
        // Loading it was the check.
        ConfigCommand::Check => output.answer(&config.effective, || {
            let width = config.effective.iter().map(|setting| setting.name.len()).max().unwrap_or(0);
            let line = |s: &kijko_core::config::Effective| format!("{:width$}  {}  ({})", s.name, s.value, s.origin);
            config.effective.iter().map(line).collect()
        }),
    }
    ExitCode::SUCCESS
}
