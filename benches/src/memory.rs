//! The memory of the server's process; PostgreSQL's is not in it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::http::Client;
use crate::server::{Account, Server};
use crate::{Result, processes};

const REQUESTS: u32 = 10_000;

/// In mebibytes.
pub struct Memory {
    pub idle: f64,
    pub after: f64,
}

pub fn measure(server: &Server<'_>, account: &Account, clients: u32) -> Result<Memory> {
    thread::sleep(Duration::from_secs(1));
    let idle = processes::resident_mib(server.pid())?;
    let asked = AtomicU32::new(0);
    let path = account.skill_path();
    let ask = || -> std::result::Result<(), String> {
        let mut client = Client::connect(server.port()).map_err(|e| e.to_string())?;
        while asked.fetch_add(1, Ordering::Relaxed) < REQUESTS {
            client.get(&path, &account.token).map_err(|e| e.to_string())?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(ask)).collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| "a client panicked")?)
    })?;
    Ok(Memory { idle, after: processes::resident_mib(server.pid())? })
}
