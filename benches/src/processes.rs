//! What Linux tells about processes: memory and CPU time.

use std::fs;

use crate::Result;
use crate::server::Server;

/// Linux counts in hundredths of a second, whatever its clock does.
const MICROSECONDS_PER_TICK: f64 = 10_000.0;

pub fn resident_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("there is no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// CPU time in microseconds: since a start, or per request.
#[derive(Clone, Copy)]
pub struct Cpu {
    pub server: f64,
    pub postgres: f64,
    /// Of our own children that have ended: the load generators.
    pub client: f64,
}

impl Cpu {
    pub fn now(server: &Server<'_>) -> Result<Self> {
        let postmaster = server.postmaster()?;
        let mut postgres = 0.0;
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            // Any process may end while we look.
            let Ok(stat) = Stat::read(&pid.to_string()) else { continue };
            if pid == postmaster {
                postgres += stat.own + stat.ended_children;
            } else if stat.parent == postmaster {
                postgres += stat.own;
            }
        }
        let server = Stat::read(&server.pid().to_string())?.own;
        Ok(Self { server, postgres, client: Stat::read("self")?.ended_children })
    }

    pub fn per_request(self, before: Self, requests: f64) -> Self {
        Self {
            server: (self.server - before.server) / requests,
            postgres: (self.postgres - before.postgres) / requests,
            client: (self.client - before.client) / requests,
        }
    }
}

struct Stat {
    parent: u32,
    own: f64,
    ended_children: f64,
}

impl Stat {
    fn read(pid: &str) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name of the program, in brackets, may hold anything.
        let (_, rest) = text.rsplit_once(") ").ok_or("/proc/<pid>/stat is not as expected")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let ticks = |at: usize| -> Result<f64> { Ok(fields[at].parse::<f64>()? * MICROSECONDS_PER_TICK) };
        Ok(Self { parent: fields[1].parse()?, own: ticks(11)? + ticks(12)?, ended_children: ticks(13)? + ticks(14)? })
    }
}
