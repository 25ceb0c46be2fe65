//! Requests from wrk, as fast as they are answered. It is written in C and takes little of the processor that it
//! shares with the server and the database.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::process::Command;

use crate::Result;
use crate::processes::Cpu;
use crate::server::{Account, Server};

pub struct Load {
    pub per_second: f64,
    /// 0 where nobody measured it.
    pub median_ms: f64,
    pub p99_ms: f64,
    pub log_lines: f64,
    /// Per request.
    pub cpu: Cpu,
}

pub fn check_installed() -> Result<()> {
    let run = Command::new("wrk").arg("--version").output();
    run.map_err(|_| "Please install wrk, which makes the load: sudo apt-get install wrk")?;
    Ok(())
}

/// Reads the skill over and over, each connection kept.
pub fn run(server: &Server<'_>, account: &Account, clients: u32, seconds: u32) -> Result<Load> {
    let mut log = File::open(server.settings.log())?;
    log.seek(SeekFrom::End(0))?;
    let before = Cpu::now(server)?;
    let wrk = Command::new("wrk")
        .args(["--threads", "1", "--latency", "--connections", &clients.to_string()])
        .args(["--duration", &format!("{seconds}s")])
        .args(["--header", &format!("Authorization: Bearer {}", account.token)])
        .arg(server.url(&account.skill_path()))
        .output()?;
    let after = Cpu::now(server)?;
    let said = String::from_utf8(wrk.stdout)?;
    if !wrk.status.success() || said.contains("Non-2xx") || said.contains("Socket errors") {
        return Err(format!("wrk: {said}{}", String::from_utf8_lossy(&wrk.stderr)).into());
    }
    let missing = || format!("wrk said something unexpected: {said}");
    let after_label = |label: &str| said.lines().find_map(|line| line.trim().strip_prefix(label)).map(str::trim);
    let requests = said.lines().find_map(|line| line.split_once(" requests in ")).ok_or_else(missing)?;
    let requests: f64 = requests.0.trim().parse()?;
    let lines = BufReader::new(log).lines().map_while(std::io::Result::ok);
    let lines = u32::try_from(lines.filter(|line| line.contains(r#""msg":"request""#)).count())?;
    Ok(Load {
        per_second: after_label("Requests/sec:").ok_or_else(missing)?.parse()?,
        median_ms: milliseconds(after_label("50%").ok_or_else(missing)?)?,
        p99_ms: milliseconds(after_label("99%").ok_or_else(missing)?)?,
        log_lines: f64::from(lines) / requests,
        cpu: after.per_request(before, requests),
    })
}

/// wrk writes 812.00us, 3.21ms, 1.05s.
fn milliseconds(text: &str) -> Result<f64> {
    for (unit, factor) in [("us", 1e-3), ("ms", 1.0), ("s", 1e3)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>()? * factor);
        }
    }
    Err(format!("{text} is no duration").into())
}
