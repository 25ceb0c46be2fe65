//! The one runtime of this process, and waiting for it without holding the interpreter.
//!
//! Its threads do not follow into a fork, so a child that opens a client of its own gets a runtime of its own.

use std::cell::OnceCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3_async_runtimes::TaskLocals;
use pyo3_async_runtimes::generic::{self, ContextExt, JoinError};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinHandle, futures::TaskLocalFuture};

use crate::errors;

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
    // That of the parent has no threads here which could be waited for, nor has anybody who waited there.
    std::mem::forget(started.replace((here, runtime)));
    WAITING.store(0, Ordering::SeqCst);
    Ok(handle)
}

/// Set when the interpreter ends.
static ENDING: AtomicBool = AtomicBool::new(false);
/// Threads that wait for something.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Ends the threads before the interpreter does: one that touched it afterwards would crash the process.
pub fn stop(py: Python<'_>) {
    ENDING.store(true, Ordering::SeqCst);
    let started = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner).take();
    match started {
        Some((process, runtime)) if process == std::process::id() => py.detach(|| {
            // Threads that nobody joins may still wait here; they look up soon.
            let since = Instant::now();
            while WAITING.load(Ordering::SeqCst) > 0 && since.elapsed() < PATIENCE_AT_EXIT {
                std::thread::sleep(Duration::from_millis(5));
            }
            runtime.shutdown_timeout(PATIENCE_AT_EXIT);
        }),
        other => std::mem::forget(other),
    }
}

/// Waits with the interpreter lock released; Ctrl-C ends the wait and drops the work.
pub fn wait<T: Send>(py: Python<'_>, work: impl Future<Output = T> + Send) -> PyResult<T> {
    let runtime = runtime()?;
    WAITING.fetch_add(1, Ordering::SeqCst);
    let done = py.detach(|| {
        let until_done = || wait_outside(&runtime, work);
        // Python that runs inside a wait, such as a handler of the log, may call us again.
        if Handle::try_current().is_ok() { tokio::task::block_in_place(until_done) } else { until_done() }
    });
    WAITING.fetch_sub(1, Ordering::SeqCst);
    done
}

/// Looks up between two parts of the wait, outside the runtime, since a handler of a signal may call us again.
fn wait_outside<T>(runtime: &Handle, work: impl Future<Output = T>) -> PyResult<T> {
    let mut work = Box::pin(work);
    let interrupted = loop {
        if let Ok(done) = runtime.block_on(async { tokio::time::timeout(INTERRUPT_INTERVAL, &mut work).await }) {
            return Ok(done);
        }
        if ENDING.load(Ordering::SeqCst) {
            break errors::unusable("The interpreter ends, and nobody waits any more", "INTERPRETER_ENDS");
        }
        if let Err(interrupt) = Python::attach(|py| py.check_signals()) {
            break interrupt;
        }
    };
    // What is given up needs the runtime for giving back connections.
    let _inside = runtime.enter();
    drop(work);
    Err(interrupted)
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
