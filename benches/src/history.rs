//! How long lists and statistics take over a long history: 10,000 skills and 1,000,000 executions of one person.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Result;
use crate::figures::each;
use crate::http::Client;
use crate::server::{Account, Server, Settings};

/// The tables that nothing may read from end to end.
const LARGE: [&str; 3] = ["skill_executions", "execution_statistics", "skills"];
/// Of each request, after one that does not count.
const RUNS: usize = 7;

pub fn run(settings: &Settings, account: &Account) -> Result<()> {
    let server = Server::start(settings)?;
    let started = Instant::now();
    eprintln!("Loading 10,000 skills and 1,000,000 executions");
    load(&server, account)?;
    let loaded = started.elapsed();
    server.stop()?;
    // A worker merges as soon as it starts.
    let server = Server::start(settings)?;
    let started = Instant::now();
    eprintln!("Merging what was counted");
    while sql(&server, "SELECT count(*) FROM execution_statistics WHERE is_new")? != "0" {
        sleep(Duration::from_secs(1));
    }
    let merged = started.elapsed();
    for table in LARGE {
        sql(&server, &format!("VACUUM (ANALYZE) {table}"))?;
    }
    let entries = sql(
        &server,
        "SELECT string_agg(grain || ' ' || n, ', ' ORDER BY grain) FROM
        (SELECT grain, count(*) AS n FROM execution_statistics GROUP BY 1) g",
    )?;
    println!("Loaded in {} s, merged in {} s; entries: {entries}", loaded.as_secs(), merged.as_secs());
    println!("Executions {}", sizes(&server, "skill_executions")?);
    println!("Statistics {}\n", sizes(&server, "execution_statistics")?);

    let paths = paths(&server, account)?;
    let mut timed = Vec::new();
    for (name, path) in &paths {
        timed.push(each(&time(&server, account, path)?, |ms| *ms));
        eprintln!("{name}");
    }
    // In a second round, so that noting the plans costs the first one nothing.
    sql(&server, "ALTER DATABASE kijko SET session_preload_libraries = 'auto_explain'")?;
    sql(&server, "ALTER DATABASE kijko SET auto_explain.log_min_duration = 0")?;
    server.stop()?;
    let server = Server::start(settings)?;
    println!("| `GET /api/v1/…` | median, ms | least | most | whole scan of a table |\n|---|---:|---:|---:|---|");
    for ((name, path), figures) in paths.iter().zip(timed) {
        println!("| `{name}` | {figures} | {} |", scanned(settings, &server, account, path)?);
    }
    server.stop()
}

/// The requests, each with a name that is the same every time.
fn paths(server: &Server<'_>, account: &Account) -> Result<Vec<(String, String)>> {
    let often = sql(server, "SELECT id FROM skills ORDER BY execution_count DESC LIMIT 1")?;
    let ended = sql(server, "SELECT id FROM skill_executions WHERE status = 'failed' LIMIT 1")?;
    let first = Client::connect(server.port())?.get("/api/v1/executions", &account.token)?;
    let first: serde_json::Value = serde_json::from_slice(&first)?;
    let cursor = first["nextCursor"].as_str().ok_or("there is no second page")?;
    let from = sql(server, "SELECT to_char(now() - interval '30 days', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')")?;
    let given = [("SKILL", &*often), ("EXECUTION", &*ended), ("CURSOR", cursor), ("30 DAYS AGO", &*from)];
    let names = [
        "skills",
        "skills?sort=most-used",
        "skills?sort=name&page=400",
        "skills?search=1234",
        "executions",
        "executions?offset=999000",
        "executions?after=CURSOR",
        "executions?status=failed",
        "executions?status=running",
        "executions?executionType=api",
        "executions?executionType=reflex&status=cancelled",
        "executions?skillId=SKILL",
        "executions?skillId=SKILL&status=failed",
        "executions?startDate=30 DAYS AGO",
        "executions?startDate=30 DAYS AGO&executionType=habit",
        "executions/recent",
        "executions/running",
        "executions/EXECUTION/full",
        "executions/export?format=csv",
        "skills/stats",
        "skills/SKILL/stats?period=90d",
        "skills/stats/aggregated?period=7d",
        "skills/stats/aggregated?period=90d",
        "skills/stats/percentiles",
        "skills/stats/percentiles?skillId=SKILL",
        "skills/stats/projection",
        "executions/stats",
        "executions/stats?startDate=30 DAYS AGO",
        "executions/stats?skillId=SKILL&startDate=30 DAYS AGO",
        "executions/cost-breakdown",
        "executions/cost-breakdown?startDate=30 DAYS AGO",
        "executions/performance",
        "executions/performance?skillId=SKILL",
        "executions/stats/by-skill",
        "executions/stats/by-period?days=365&granularity=week",
    ];
    let path = |name: &&str| {
        let filled = given.iter().fold((*name).to_owned(), |path, (word, value)| path.replace(word, value));
        ((*name).to_owned(), format!("/api/v1/{filled}"))
    };
    Ok(names.iter().map(path).collect())
}

fn time(server: &Server<'_>, account: &Account, path: &str) -> Result<Vec<f64>> {
    let mut client = Client::connect(server.port())?;
    client.get(path, &account.token)?;
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let started = Instant::now();
        client.get(path, &account.token)?;
        times.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(times)
}

/// Which large tables the plans of this request read from end to end, as PostgreSQL notes them.
fn scanned(settings: &Settings, server: &Server<'_>, account: &Account, path: &str) -> Result<String> {
    let log = settings.home().join("data/postgres/server.log");
    let before = fs::metadata(&log)?.len();
    let mut client = Client::connect(server.port())?;
    // Often enough for a plan that is to fit any values.
    for _ in 0..6 {
        client.get(path, &account.token)?;
    }
    let noted = fs::read(&log)?;
    let noted = String::from_utf8_lossy(&noted[usize::try_from(before)?..]).into_owned();
    if !noted.contains("Query Text:") {
        return Err(format!("PostgreSQL noted no plan of {path}").into());
    }
    let found: Vec<&str> = LARGE.into_iter().filter(|table| noted.contains(&format!("Seq Scan on {table}"))).collect();
    Ok(if found.is_empty() { "no".to_owned() } else { found.join(", ") })
}

fn load(server: &Server<'_>, account: &Account) -> Result<()> {
    let script = server.settings.home().join("history.sql");
    fs::write(&script, include_str!("history.sql"))?;
    let variables = [format!("org={}", account.organization_id), format!("person={}", account.user_id)];
    psql(server, &["--quiet", "--set", &variables[0], "--set", &variables[1], "--file", &script.display().to_string()])
        .map(drop)
}

fn sizes(server: &Server<'_>, table: &str) -> Result<String> {
    sql(
        server,
        &format!(
            "SELECT pg_size_pretty(pg_table_size('{table}')) || ', indexes ' ||
                                 pg_size_pretty(pg_indexes_size('{table}'))"
        ),
    )
}

fn sql(server: &Server<'_>, statement: &str) -> Result<String> {
    psql(server, &["--tuples-only", "--no-align", "--command", statement])
}

fn psql(server: &Server<'_>, arguments: &[&str]) -> Result<String> {
    let socket_dir = server.socket_dir().display().to_string();
    let answer = Command::new(server.postgres_program("psql")?)
        .args(["--no-psqlrc", "--host", &socket_dir, "--port", "5432", "--username", "postgres", "kijko"])
        .args(arguments)
        .output()?;
    if !answer.status.success() {
        return Err(format!("psql: {}", String::from_utf8_lossy(&answer.stderr)).into());
    }
    Ok(String::from_utf8(answer.stdout)?.trim().to_owned())
}
