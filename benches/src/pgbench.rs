//! The same transaction from pgbench, straight to the same database: what there is to be had.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::load::Load;
use crate::processes::Cpu;
use crate::server::{Account, Server};

/// As in adapters/postgres/skills.rs.
const COLUMNS: &str = "id, user_id, name, description, category, prompt_template, model, parameters, input_schema, \
     output_format, is_active, execution_count, star_count, last_executed_at, created_at, updated_at";

#[derive(Clone, Copy)]
pub enum Protocol {
    /// The context in one message of several statements, as Kijko sends it; the SELECT is planned each time.
    Simple,
    /// Everything prepared, as Kijko's SELECT is; the statements of the context share one round trip.
    Prepared,
}

/// The scripts of both protocols: three round trips each, as in Kijko.
pub struct Transaction {
    simple: PathBuf,
    prepared: PathBuf,
    skill_id: String,
}

impl Transaction {
    /// Writes the scripts, and sees that they find the skill.
    pub fn prepare(server: &Server<'_>, account: &Account, dir: &Path) -> Result<Self> {
        let Account { organization_id, user_id, skill_id, .. } = account;
        let open = [
            "BEGIN".to_owned(),
            "SET LOCAL ROLE kijko_tenant".to_owned(),
            format!("SET LOCAL app.current_org_id = '{organization_id}'"),
            format!("SET LOCAL app.current_user_id = '{user_id}'"),
        ];
        let scripts =
            Self { simple: dir.join("simple.sql"), prepared: dir.join("prepared.sql"), skill_id: skill_id.clone() };
        let select = format!("SELECT {COLUMNS} FROM skills WHERE id =");
        let simple = format!("{};\n{select} '{skill_id}';\nROLLBACK;\n", open.join(" \\; "));
        let prepared =
            format!("\\startpipeline\n{};\n\\endpipeline\n{select} :skill_id;\nROLLBACK;\n", open.join(";\n"));
        fs::write(&scripts.simple, simple)?;
        fs::write(&scripts.prepared, prepared)?;

        let psql = Command::new(server.postgres_program("psql")?)
            .args(connection(server))
            .args(["--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--file"])
            .arg(&scripts.simple)
            .output()?;
        if !String::from_utf8_lossy(&psql.stdout).contains(skill_id) {
            return Err(format!("psql does not find the skill: {}", String::from_utf8_lossy(&psql.stderr)).into());
        }
        Ok(scripts)
    }

    pub fn run(&self, server: &Server<'_>, protocol: Protocol, clients: u32, seconds: u32) -> Result<Load> {
        let (name, script) = match protocol {
            Protocol::Simple => ("simple", &self.simple),
            Protocol::Prepared => ("prepared", &self.prepared),
        };
        let before = Cpu::now(server)?;
        let pgbench = Command::new(server.postgres_program("pgbench")?)
            .args(connection(server))
            .args(["--no-vacuum", "--jobs=2", "--client", &clients.to_string(), "--time", &seconds.to_string()])
            .args(["--protocol", name, "--define", &format!("skill_id={}", self.skill_id), "--file"])
            .arg(script)
            .output()?;
        let after = Cpu::now(server)?;
        let said = String::from_utf8(pgbench.stdout)?;
        if !pgbench.status.success() {
            return Err(format!("pgbench: {said}{}", String::from_utf8_lossy(&pgbench.stderr)).into());
        }
        let number = |label: &str| -> Result<f64> {
            let line = said.lines().find_map(|line| line.strip_prefix(label));
            let line = line.ok_or_else(|| format!("pgbench said something unexpected: {said}"))?;
            Ok(line.split(' ').next().unwrap_or_default().parse()?)
        };
        let transactions = number("number of transactions actually processed: ")?;
        Ok(Load {
            per_second: number("tps = ")?,
            median_ms: 0.0,
            p99_ms: 0.0,
            log_lines: 0.0,
            cpu: after.per_request(before, transactions),
        })
    }
}

fn connection(server: &Server<'_>) -> Vec<String> {
    let socket_dir = server.socket_dir().display().to_string();
    ["--host", &socket_dir, "--port", "5432", "--username", "kijko_app", "kijko"].map(str::to_owned).into()
}
