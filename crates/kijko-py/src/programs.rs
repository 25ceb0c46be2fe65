//! Models that Python serves: the core asks, a callable answers. What may go wrong in Python is dealt with there, in
//! `kijko.models`.

use std::sync::Mutex;

use kijko_core::services::programs::{self, Program, Question};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// `kijko.models.starter(…)`.
pub struct Callable {
    pub start: Py<PyAny>,
}

impl Program for Callable {
    fn start(&self, question: Question, answer: programs::Answer) {
        let question = serde_json::to_vec(&question).unwrap_or_default();
        Python::attach(|py| {
            let answer = Answer { inner: Mutex::new(Some(answer)) };
            if let Err(error) = self.start.call1(py, (PyBytes::new(py, &question), answer)) {
                error.write_unraisable(py, None);
            }
        });
    }
}

/// Where the pieces of one answer go.
#[pyclass(frozen, module = "kijko._kijko")]
pub struct Answer {
    /// None once it has ended.
    inner: Mutex<Option<programs::Answer>>,
}

#[pymethods]
impl Answer {
    #[getter]
    fn is_unwanted(&self) -> bool {
        let inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.as_ref().is_none_or(programs::Answer::is_unwanted)
    }

    /// Whether the next call returns at once.
    #[getter]
    fn has_room(&self) -> bool {
        let inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.as_ref().is_none_or(programs::Answer::has_room)
    }

    /// False when nobody wants it any more.
    fn text(&self, py: Python<'_>, piece: String) -> bool {
        self.with(py, |answer| answer.text(piece))
    }

    fn usage(&self, py: Python<'_>, prompt_tokens: u64, completion_tokens: u64) -> bool {
        self.with(py, |answer| answer.usage(prompt_tokens, completion_tokens))
    }

    fn end(&self, py: Python<'_>) {
        self.with(py, |answer| {
            answer.end();
            true
        });
        self.close();
    }

    fn fail(&self, py: Python<'_>, message: &str, retryable: bool) {
        self.with(py, |answer| {
            answer.fail(message, retryable);
            true
        });
        self.close();
    }
}

impl Answer {
    /// Without the interpreter lock, since the run may be busy.
    fn with(&self, py: Python<'_>, act: impl FnOnce(&programs::Answer) -> bool + Send) -> bool {
        py.detach(|| {
            let inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            inner.as_ref().is_some_and(act)
        })
    }

    fn close(&self) {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    }
}
