//! `make bench`: how long Kijko takes to start, how much memory it takes, and how many requests a second it answers
//! beside what the same database does for pgbench with the same transaction. docs/performance.md explains the figures.
#![expect(clippy::float_arithmetic, reason = "these are measurements")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the figures are for people")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;

mod figures;
mod history;
mod http;
mod load;
mod memory;
mod pgbench;
mod processes;
mod server;
mod startup;

use figures::{Figures, each};
use pgbench::Protocol;
use server::{Account, Server, Settings};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
struct Args {
    /// How often each thing is measured
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// How long each load lasts
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Connections of the load generator, clients of pgbench
    #[arg(long, default_value_t = 32)]
    clients: u32,
    /// Instead, load a long history and measure lists and statistics over it
    #[arg(long)]
    history: bool,
    /// Leave out start and memory
    #[arg(long)]
    load_only: bool,
    /// A setting of the server, to see what it costs: --set LOG_LEVEL=error
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// Measure this program; without it the release build of this repository, made first
    #[arg(long)]
    server: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    if !args.history {
        load::check_installed()?;
    }
    let program = args.server.as_ref().map_or_else(build, |server| Ok(std::path::absolute(server)?))?;
    let home = tempfile::Builder::new().prefix("kijko-bench-").tempdir()?;
    // PostgreSQL never runs as root, and has to get in.
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o711))?;
    let settings = Settings::new(program, home.path(), &args.settings)?;

    eprintln!("Initialising a database");
    let server = Server::start(&settings)?;
    let account = Account::create(&server)?;
    println!("\n{}\n", machine(&server)?);
    server.stop()?;

    if args.history {
        return history::run(&settings, &account);
    }
    if !args.load_only {
        start_and_memory(args, &settings, &account)?;
    }
    throughput(args, &settings, &account)
}

/// Built apart, because the server is another package than this program.
fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let build = ["build", "--release", "--package", "kijko-http", "--manifest-path"];
    let built = Command::new(cargo).args(build).arg(manifest).status()?;
    if !built.success() {
        return Err("The server could not be built".into());
    }
    Ok(std::env::current_exe()?.with_file_name("kijko-http"))
}

fn machine(server: &Server) -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([':', '\t', ' ']);
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    Ok(format!("{cores} cores ({model}), {}, load before: {load}", server.postgres_version()?))
}

fn start_and_memory(args: &Args, settings: &Settings, account: &Account) -> Result<()> {
    let mut rows = Vec::new();
    for run in 1..=args.runs {
        eprintln!("Start and memory, run {run} of {}", args.runs);
        let (server, started) = startup::measure(settings, account)?;
        let used = memory::measure(&server, account, args.clients)?;
        server.stop()?;
        rows.push((started, used));
    }
    println!("| Start and memory | median | least | most |\n|---|---:|---:|---:|");
    let line = |name, figures: Figures| println!("| {name} | {figures} |");
    line("First `GET /health` answered, ms", each(&rows, |(started, _)| started.health));
    line("First `GET /api/v1/skills/{id}` answered, ms", each(&rows, |(started, _)| started.skill));
    line("Resident when idle, MiB", each(&rows, |(_, used)| used.idle));
    line("Resident after 10,000 requests, MiB", each(&rows, |(_, used)| used.after));
    println!();
    Ok(())
}

fn throughput(args: &Args, settings: &Settings, account: &Account) -> Result<()> {
    let server = Server::start(settings)?;
    let transaction = pgbench::Transaction::prepare(&server, account, settings.home())?;
    let http = |seconds| load::run(&server, account, args.clients, seconds);
    let pgbench = |protocol, seconds| transaction.run(&server, protocol, args.clients, seconds);

    eprintln!("Warming up");
    http(args.seconds.min(3))?;
    pgbench(Protocol::Simple, 1)?;
    let mut rounds = Vec::new();
    for run in 1..=args.runs {
        eprintln!("Load, run {run} of {}", args.runs);
        rounds.push((
            http(args.seconds)?,
            pgbench(Protocol::Simple, args.seconds)?,
            pgbench(Protocol::Prepared, args.seconds)?,
        ));
    }
    server.stop()?;

    println!("| Load, {} clients, {} s | median | least | most |\n|---|---:|---:|---:|", args.clients, args.seconds);
    let line = |name, figures: Figures| println!("| {name} | {figures} |");
    line("`GET /api/v1/skills/{id}` per second", each(&rounds, |(http, ..)| http.per_second));
    line("pgbench, simple protocol, per second", each(&rounds, |(_, simple, _)| simple.per_second));
    line("pgbench, prepared, per second", each(&rounds, |(.., prepared)| prepared.per_second));
    line("HTTP / pgbench, simple protocol", each(&rounds, |(http, simple, _)| http.per_second / simple.per_second));
    line("HTTP / pgbench, prepared", each(&rounds, |(http, _, prepared)| http.per_second / prepared.per_second));
    line("HTTP: half are answered within, ms", each(&rounds, |(http, ..)| http.median_ms));
    line("HTTP: 99 % are answered within, ms", each(&rounds, |(http, ..)| http.p99_ms));
    line("HTTP: log lines per request", each(&rounds, |(http, ..)| http.log_lines));
    println!("\n| CPU time per request, µs | median | least | most |\n|---|---:|---:|---:|");
    line("HTTP: kijko-http", each(&rounds, |(http, ..)| http.cpu.server));
    line("HTTP: PostgreSQL", each(&rounds, |(http, ..)| http.cpu.postgres));
    line("HTTP: load generator", each(&rounds, |(http, ..)| http.cpu.client));
    line("pgbench, simple: PostgreSQL", each(&rounds, |(_, simple, _)| simple.cpu.postgres));
    line("pgbench, simple: pgbench", each(&rounds, |(_, simple, _)| simple.cpu.client));
    line("pgbench, prepared: PostgreSQL", each(&rounds, |(.., prepared)| prepared.cpu.postgres));
    line("pgbench, prepared: pgbench", each(&rounds, |(.., prepared)| prepared.cpu.client));
    Ok(())
}
