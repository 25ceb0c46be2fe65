//! `kijko-http`: the server. Runs jobs beside the requests unless told not to.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use kijko_core::config::LogFormat;
use kijko_core::{App, Config};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Kijko's HTTP server. Every setting is an environment variable; see docs/operations.md.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Address to listen on (HOST)
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on (PORT)
    #[arg(long)]
    port: Option<u16>,
    /// Leave the jobs to other processes (`kijko worker`)
    #[arg(long)]
    no_worker: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let flags = [("HOST", args.host.clone()), ("PORT", args.port.map(|port| port.to_string()))];
    let flags: Vec<_> = flags.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    match Config::load(&flags) {
        Ok(config) => run(config, !args.no_worker).await,
        Err(error) => fail(78, &format!("The configuration is not valid:\n{error}")),
    }
}

async fn run(config: Config, work: bool) -> ExitCode {
    kijko_core::telemetry::init(&config);
    let address = (config.http.host, config.http.port);
    // Before the database: a port that is taken is the commonest mistake, and the cheapest to find.
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => return fail(69, &format!("Cannot listen on {}:{}: {error}", address.0, address.1)),
    };
    let stop = match stop_signal() {
        Ok(stop) => stop,
        Err(error) => return fail(71, &format!("Cannot listen for signals: {error}")),
    };
    let app = match App::connect(config).await {
        Ok(app) => app,
        Err(error) => return fail(69, &format!("Kijko cannot start: {error}")),
    };
    welcome(&app, &listener);
    let result = kijko_http::serve(app.clone(), listener, work, stop).await;
    app.close().await;
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(70, &error.internal_text().unwrap_or_else(|| error.to_string())),
    }
}

/// Ready at the first SIGINT or SIGTERM.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[expect(clippy::print_stdout, reason = "this is for the person who started the server")]
fn welcome(app: &App, listener: &TcpListener) {
    let port = listener.local_addr().map_or(app.config().http.port, |address| address.port());
    // Who collects JSON from standard output expects nothing else there.
    if app.config().log_format == LogFormat::Json {
        return tracing::info!(port, "listening");
    }
    let url = format!("http://localhost:{port}");
    println!(
        "\nKijko is running at {url}   (documentation: {url}/docs, stop with Ctrl-C)\n\nTry it:\n\
         T=$(curl -s {url}/api/v1/auth/signup --json '{{\"email\":\"ada@example.com\",\"password\":\"testpass123\",\
         \"first_name\":\"Ada\",\"last_name\":\"L\"}}' | sed 's/.*\"access_token\":\"\\([^\"]*\\).*/\\1/')\n\
         S=$(curl -s {url}/api/v1/skills -H \"Authorization: Bearer $T\" --json '{{\"name\":\"Summary\",\
         \"promptTemplate\":\"Summarise in one line: {{{{text}}}}\"}}' | sed 's/.*\"id\":\"\\([^\"]*\\).*/\\1/')\n\
         curl -s {url}/api/v1/skills/$S/execute -H \"Authorization: Bearer $T\" --json '{{\"input\":{{\"text\":\
         \"Kijko keeps tenants apart.\"}}}}'; sleep 1; curl -s {url}/api/v1/executions -H \"Authorization: Bearer $T\"\n"
    );
}

#[expect(clippy::print_stderr, reason = "this is for the person who started the server")]
fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(code)
}
