//! What the core logs, for Python's `logging`: the loggers `kijko_core` and `_kijko`, and those below them. Of our
//! libraries only what went wrong: the rest would hold statements and addresses.

use log::{LevelFilter, Log, Metadata, Record};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3_log::{Caching, Logger};

/// From now on. Another package in this process may have been first; then theirs gets it.
pub fn pass_on(py: Python<'_>) -> PyResult<()> {
    // Levels are asked for each time, since programs set them after they import us.
    let logger = Logger::new(py, Caching::Loggers)?
        .filter(LevelFilter::Error)
        .filter_target("kijko_core".to_owned(), LevelFilter::Info)
        .filter_target("_kijko".to_owned(), LevelFilter::Info);
    if log::set_boxed_logger(Box::new(Careful(logger))).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
    Ok(())
}

/// What a handler raises is no failure of the call that logged.
struct Careful(Logger);

impl Log for Careful {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        Python::attach(|py| {
            self.0.log(record);
            let Some(raised) = PyErr::take(py) else { return };
            if raised.is_instance_of::<PyKeyboardInterrupt>(py) {
                // It was meant for the program: once more, where it is looked for.
                py.import("_thread").and_then(|thread| thread.call_method0("interrupt_main")).map(drop).ok();
            } else {
                raised.write_unraisable(py, None);
            }
        });
    }

    fn flush(&self) {
        self.0.flush();
    }
}
