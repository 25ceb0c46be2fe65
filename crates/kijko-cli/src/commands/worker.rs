//! `kijko worker`.

use std::process::ExitCode;

use kijko_core::services::worker;
use kijko_core::{App, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Failure;

pub async fn run(config: Config) -> Result<ExitCode, Failure> {
    kijko_core::telemetry::init(&config);
    let stop = CancellationToken::new();
    stop_on_signal(stop.clone());
    let app = App::connect(config).await?;
    tracing::info!("working; stop with Ctrl-C");
    let result = worker::run(&app, stop).await;
    app.close().await;
    result?;
    Ok(ExitCode::SUCCESS)
}

fn stop_on_signal(stop: CancellationToken) {
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let stop = stop.clone();
        match signal(kind) {
            Ok(mut signal) => drop(tokio::spawn(async move {
                signal.recv().await;
                stop.cancel();
            })),
            Err(error) => tracing::warn!(error = %error, "cannot listen for a signal"),
        }
    }
}
