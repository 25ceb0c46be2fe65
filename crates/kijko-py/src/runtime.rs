//! The one runtime of this process, and waiting for it without holding the interpreter.
//!
//! Its threads do not follow into a fork, so a child that opens a client of its own gets a runtime of its own.

use std::cell::OnceCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3_async_runtimes::TaskLocals;
use pyo3_async_runtimes::generic::{self, ContextExt, JoinError};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinHandle, futures::TaskLocalFuture};

/// For how long the end of the interpreter waits for what still runs.
const PATIENCE_AT_EXIT: Duration = Duration::from_secs(5);
/// For how long Ctrl-C may go unnoticed.
const INTERRUPT_INTERVAL: Duration = Duration::from_millis(50);

/// With the process that it was started in.
static RUNTIME: Mutex<Option<(u32, Runtime)>> = Mutex::new(None);

/// The runtime of this very process, started when it is first needed.
pub fn runtime() -> PyResult<Handle> {
    let mut started = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    let here = std::process::id();
    if let Some((process, runtime)) = &*started
        && *process == here
    {
        return Ok(runtime.handle().clone());
    }
    let runtime = Builder::new_multi_thread().enable_all().thread_name("kijko").build();
    let runtime = runtime.map_err(|error| PyRuntimeError::new_err(format!("Kijko cannot start threads: {error}")))?;
    let handle = runtime.handle().clone();
    // That of the parent has no threads here which could be waited for.
    std::mem::forget(started.replace((here, runtime)));
    Ok(handle)
}

/// Ends the threads before the interpreter does: one that touched it afterwards would crash the process.
pub fn stop(py: Python<'_>) {
    let started = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner).take();
    match started {
        Some((process, runtime)) if process == std::process::id() => {
            py.detach(|| runtime.shutdown_timeout(PATIENCE_AT_EXIT));
        }
        other => std::mem::forget(other),
    }
}

/// Waits with the interpreter lock released; Ctrl-C ends the wait and drops the work.
pub fn wait<T: Send>(py: Python<'_>, work: impl Future<Output = T> + Send) -> PyResult<T> {
    let runtime = runtime()?;
    py.detach(|| {
        runtime.block_on(async {
            let mut work = pin!(work);
            loop {
                match tokio::time::timeout(INTERRUPT_INTERVAL, &mut work).await {
                    Ok(done) => return Ok(done),
                    Err(_) => Python::attach(|py| py.check_signals())?,
                }
            }
        })
    })
}

/// The same for `await`; cancelling the task drops the work.
pub fn promise<'py, T>(
    py: Python<'py>,
    work: impl Future<Output = PyResult<T>> + Send + 'static,
) -> PyResult<Bound<'py, PyAny>>
where
    T: for<'a> IntoPyObject<'a> + Send + 'static,
{
    runtime()?;
    generic::future_into_py::<Shared, _, T>(py, work)
}

/// The runtime, as the bridge to asyncio wants to see it.
struct Shared;

tokio::task_local! {
    static LOCALS: OnceCell<TaskLocals>;
}

/// A panic of the work.
pub struct Failed(tokio::task::JoinError);

impl JoinError for Failed {
    fn is_panic(&self) -> bool {
        self.0.is_panic()
    }

    fn into_panic(self) -> Box<dyn std::any::Any + Send + 'static> {
        self.0.into_panic()
    }
}

/// The handle of a task that fails with our kind of error.
pub struct Joined(JoinHandle<()>);

impl Future for Joined {
    type Output = Result<(), Failed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(Failed)
    }
}

impl generic::Runtime for Shared {
    type JoinError = Failed;
    type JoinHandle = Joined;

    fn spawn<F: Future<Output = ()> + Send + 'static>(work: F) -> Joined {
        Joined(started().spawn(work))
    }

    fn spawn_blocking<F: FnOnce() + Send + 'static>(work: F) -> Joined {
        Joined(started().spawn_blocking(work))
    }
}

/// `promise` has started it.
fn started() -> Handle {
    runtime().unwrap_or_else(|error| unreachable!("the runtime was there a moment ago: {error}"))
}

impl ContextExt for Shared {
    fn scope<F, R>(locals: TaskLocals, work: F) -> Pin<Box<dyn Future<Output = R> + Send>>
    where
        F: Future<Output = R> + Send + 'static,
    {
        let cell = OnceCell::new();
        cell.set(locals).unwrap_or_else(|_| unreachable!("a new cell is empty"));
        let scoped: TaskLocalFuture<_, F> = LOCALS.scope(cell, work);
        Box::pin(scoped)
    }

    fn get_task_locals() -> Option<TaskLocals> {
        LOCALS.try_with(|cell| cell.get().cloned()).ok().flatten()
    }
}
