//! From the start of the process, its PostgreSQL included, to the first replies.

use std::time::Instant;

use crate::Result;
use crate::server::{Account, Server, Settings};

/// In milliseconds.
pub struct Startup {
    pub health: f64,
    pub skill: f64,
}

pub fn measure<'a>(settings: &'a Settings, account: &Account) -> Result<(Server<'a>, Startup)> {
    let started = Instant::now();
    let mut server = Server::launch(settings)?;
    let mut client = server.client()?;
    client.get("/health", "")?;
    let health = started.elapsed();
    client.get(&account.skill_path(), &account.token)?;
    let skill = started.elapsed();
    Ok((server, Startup { health: health.as_secs_f64() * 1e3, skill: skill.as_secs_f64() * 1e3 }))
}
