//! Serves until told to stop, then lets open requests and running calls finish.

use std::future::Future;
use std::net::SocketAddr;

use kijko_core::services::worker;
use kijko_core::{App, Error};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::router;

/// Answers requests on `listener`, and runs jobs beside them if `work` is set, until `stop` is ready.
pub async fn serve(app: App, listener: TcpListener, work: bool, stop: impl Future<Output = ()>) -> Result<(), Error> {
    let draining = CancellationToken::new();
    let worker = {
        let (app, stop) = (app.clone(), draining.clone());
        tokio::spawn(async move { if work { worker::run(&app, stop).await } else { Ok(()) } })
    };
    let service = router(&app).into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(draining.clone().cancelled_owned());
    let server = tokio::spawn(server.into_future());

    stop.await;
    tracing::info!("stopping: open requests and running calls may finish");
    app.drain();
    tokio::time::sleep(app.config().http.drain_notice).await;
    draining.cancel();
    let grace = app.config().http.shutdown_grace;
    if tokio::time::timeout(grace, server).await.is_err() {
        tracing::warn!("some requests did not finish in time");
    }
    worker.await.map_err(|e| Error::internal("joining the worker", e))?
}
