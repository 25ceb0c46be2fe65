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

use pyo3::prelude::*;
use pyo3::types::PyCFunction;

mod calls;
mod client;
mod errors;
mod logs;
mod opened;
mod programs;
mod runtime;
mod tenant;

/// The compiled half of the package `kijko`; what people import is in `python/kijko`.
#[pymodule(gil_used = false)]
fn _kijko(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", kijko_core::services::health::VERSION)?;
    logs::pass_on(module.py())?;
    let stop = PyCFunction::new_closure(module.py(), None, None, |arguments, _| runtime::stop(arguments.py()))?;
    module.py().import("atexit")?.call_method1("register", (stop,))?;
    module.add_class::<client::Engine>()?;
    module.add_class::<tenant::Tenant>()?;
    module.add_class::<tenant::Stream>()?;
    module.add_class::<programs::Answer>()
}
