//! Kijko for Python: the core in process, with the same rules and the same isolation as over HTTP.
//!
//! This is the compiled half, `kijko._kijko`: it opens the core, identifies callers, and carries calls in and answers
//! out as the JSON that the contract fixes. What people see (classes, types, documentation) is Python, in
//! `python/kijko`, where type checkers and readers expect it.
//!
//! Built against the stable ABI of Python 3.11 (`abi3`): one wheel serves every later version. Free-threaded builds of
//! Python have no stable ABI before 3.15, so they would need a wheel for each version; every call here releases the
//! interpreter lock while it waits for the database, which is where the time goes, so they would gain little.
#![forbid(unsafe_code)]

use log::LevelFilter;
use pyo3::prelude::*;
use pyo3::types::PyCFunction;
use pyo3_log::Caching;

mod calls;
mod client;
mod errors;
mod programs;
mod runtime;
mod tenant;

/// The compiled half of the package `kijko`; what people import is in `python/kijko`.
#[pymodule(gil_used = false)]
fn _kijko(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", kijko_core::services::health::VERSION)?;
    pass_on_logs(module.py())?;
    let stop = PyCFunction::new_closure(module.py(), None, None, |arguments, _| runtime::stop(arguments.py()))?;
    module.py().import("atexit")?.call_method1("register", (stop,))?;
    module.add_class::<client::Engine>()?;
    module.add_class::<tenant::Tenant>()?;
    module.add_class::<tenant::Stream>()?;
    module.add_class::<programs::Answer>()
}

/// To Python's `logging`, as the loggers `kijko_core` and `_kijko` and those below them. Of our libraries only what went
/// wrong: the rest would hold statements and addresses.
fn pass_on_logs(py: Python<'_>) -> PyResult<()> {
    // Levels are asked for each time, since programs set them after they import us.
    let logger = pyo3_log::Logger::new(py, Caching::Loggers)?
        .filter(LevelFilter::Warn)
        // It warns of slow statements, with their text.
        .filter_target("sqlx::query".to_owned(), LevelFilter::Error)
        .filter_target("kijko_core".to_owned(), LevelFilter::Info)
        .filter_target("_kijko".to_owned(), LevelFilter::Info);
    // Another package in this process may have been first; then theirs gets it.
    logger.install().map(drop).or(Ok(()))
}
