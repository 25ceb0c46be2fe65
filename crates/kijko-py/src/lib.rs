//! Kijko for Python: the core in process, with the same rules and the same isolation as over HTTP.
#![forbid(unsafe_code)]

use pyo3::prelude::*;

/// The compiled half of the package `kijko`; what people import is in `python/kijko`.
#[pymodule]
fn _kijko(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", kijko_core::services::health::VERSION)
}
