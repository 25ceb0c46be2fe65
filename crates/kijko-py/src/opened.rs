//! What a client and everything that came of it share: the core, and whether it can still be used.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kijko_core::{App, Error};
use pyo3::prelude::*;

use crate::errors;

/// Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct Opened {
    pub app: App,
    process: u32,
    closed: Arc<AtomicBool>,
}

impl Opened {
    pub fn new(app: App) -> Self {
        Self { app, process: std::process::id(), closed: Arc::default() }
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Refused after it was closed, and in another process than the one that opened it.
    pub fn usable(&self) -> PyResult<()> {
        if self.process != std::process::id() {
            return Err(errors::unusable(
                "This client was opened before the process forked, and its connections belong to the parent: \
                 open another one here",
                "FORKED",
            ));
        }
        if self.is_closed() { Err(closed()) } else { Ok(()) }
    }

    /// A failure because the client was closed meanwhile is told as such.
    pub async fn answer<T>(&self, work: impl Future<Output = Result<T, Error>>) -> PyResult<T> {
        work.await.map_err(|error| if self.is_closed() { closed() } else { errors::raised(&error) })
    }
}

fn closed() -> PyErr {
    errors::unusable("This client was closed", "CLIENT_CLOSED")
}
