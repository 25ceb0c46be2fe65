//! `kijko doctor`.

use std::process::ExitCode;

use kijko_core::Config;
use kijko_core::app::operations;

use crate::exit::Failure;
use crate::output::Output;

pub async fn run(config: &Config, output: &Output) -> Result<ExitCode, Failure> {
    let findings = operations::diagnose(config).await;
    output.answer(&findings, || {
        let mark = |ok| if ok { "ok    " } else { "WRONG " };
        let mut lines: Vec<_> =
            findings.iter().map(|f| format!("{} {:15} {}", mark(f.ok), f.subject, f.message)).collect();
        let wrong = findings.iter().filter(|finding| !finding.ok).count();
        lines.push(match wrong {
            0 => "This installation is in order.".to_owned(),
            1 => "One thing is wrong with this installation.".to_owned(),
            many => format!("{many} things are wrong with this installation."),
        });
        lines
    });
    if findings.iter().all(|finding| finding.ok) { Ok(ExitCode::SUCCESS) } else { Err(Failure::Unhealthy) }
}
