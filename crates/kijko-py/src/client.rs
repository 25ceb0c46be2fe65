//! An open core. Every method exists twice: once to wait for, once to await.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use kijko_core::domain::offered_models::OfferedModel;
use kijko_core::services::{programs, worker};
use kijko_core::{App, Config, Error};
use pyo3::prelude::*;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::programs::Callable;
use crate::tenant::{Caller, Tenant, same_process};
use crate::{errors, runtime};

/// A connected core. Belongs to the process that opened it.
#[pyclass(frozen, module = "kijko._kijko")]
pub struct Engine {
    process: u32,
    app: App,
    worker: Mutex<Option<Worker>>,
    /// Runs what calls for the models that this process offers.
    server: Mutex<Option<Worker>>,
}

struct Worker {
    stop: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

#[pymethods]
impl Engine {
    /// By the names of the settings, in upper case; the environment's values count where none is given.
    #[staticmethod]
    fn open(py: Python<'_>, settings: Vec<(String, String)>) -> PyResult<Self> {
        let config = configured(&settings)?;
        runtime::wait(py, Self::connect(config))?
    }

    #[staticmethod]
    fn open_async<'py>(py: Python<'py>, settings: Vec<(String, String)>) -> PyResult<Bound<'py, PyAny>> {
        let config = configured(&settings)?;
        runtime::promise(py, Self::connect(config))
    }

    /// Lets `start` answer for a model, in runs of any process on this database; see `kijko.models`.
    fn offer_model(
        &self,
        py: Python<'_>,
        name: String,
        input_cost_per_million: &str,
        output_cost_per_million: &str,
        max_output_tokens: u32,
        start: Py<PyAny>,
    ) -> PyResult<()> {
        self.usable()?;
        let rate = |field: &str, text: &str| {
            let mistake = || Error::invalid(field, "type", format!("{field} must be a decimal number, not {text}"));
            text.parse().map_err(|_| errors::raised(&mistake()))
        };
        let model = OfferedModel {
            name,
            input_cost_per_million: rate("inputCostPerMillion", input_cost_per_million)?,
            output_cost_per_million: rate("outputCostPerMillion", output_cost_per_million)?,
            max_output_tokens,
        };
        let offer = programs::offer(&self.app, model, Arc::new(Callable { start }));
        runtime::wait(py, offer)?.map_err(|error| errors::raised(&error))?;
        start_once(&self.server, |stop| {
            let app = self.app.clone();
            async move { worker::serve_models(&app, stop).await }
        })
    }

    /// Runs jobs in this process from now on; does nothing when it does already.
    fn start_worker(&self) -> PyResult<()> {
        self.usable()?;
        start_once(&self.worker, |stop| {
            let app = self.app.clone();
            async move { worker::run(&app, stop).await }
        })
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.usable()?;
        runtime::wait(py, closed(self.app.clone(), self.taken_workers()))
    }

    fn close_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.usable()?;
        let (app, workers) = (self.app.clone(), self.taken_workers());
        runtime::promise(py, async move {
            closed(app, workers).await;
            Ok(())
        })
    }

    /// The organisation of a token or an API key, or one that an operator enters.
    #[pyo3(signature = (*, name=None, id=None, token=None, operator=None, reason=None))]
    fn organization(
        &self,
        py: Python<'_>,
        name: Option<String>,
        id: Option<String>,
        token: Option<String>,
        operator: Option<String>,
        reason: Option<String>,
    ) -> PyResult<Tenant> {
        let entering = self.entering(name, id, token, operator, reason)?;
        runtime::wait(py, entering)?
    }

    #[pyo3(signature = (*, name=None, id=None, token=None, operator=None, reason=None))]
    fn organization_async<'py>(
        &self,
        py: Python<'py>,
        name: Option<String>,
        id: Option<String>,
        token: Option<String>,
        operator: Option<String>,
        reason: Option<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let entering = self.entering(name, id, token, operator, reason)?;
        runtime::promise(py, entering)
    }
}

impl Engine {
    async fn connect(config: Config) -> PyResult<Self> {
        let app = App::connect(config).await.map_err(|error| errors::not_started(&error))?;
        Ok(Self { process: std::process::id(), app, worker: Mutex::default(), server: Mutex::default() })
    }

    fn usable(&self) -> PyResult<()> {
        same_process(self.process)
    }

    fn taken_workers(&self) -> Vec<Worker> {
        let taken = |worker: &Mutex<Option<Worker>>| worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        [taken(&self.worker), taken(&self.server)].into_iter().flatten().collect()
    }

    fn entering(
        &self,
        name: Option<String>,
        id: Option<String>,
        token: Option<String>,
        operator: Option<String>,
        reason: Option<String>,
    ) -> PyResult<impl Future<Output = PyResult<Tenant>> + Send + 'static> {
        self.usable()?;
        let (app, process) = (self.app.clone(), self.process);
        Ok(async move {
            let caller = match token {
                Some(token) => Caller::Bearer(token),
                None => Caller::enter(&app, name, id, operator, reason).await.map_err(|e| errors::raised(&e))?,
            };
            Tenant::of(process, app, caller).await
        })
    }
}

fn configured(settings: &[(String, String)]) -> PyResult<Config> {
    let flags: Vec<(&str, String)> = settings.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    Config::load(&flags).map_err(|error| errors::misconfigured(&error))
}

/// Does nothing while it runs.
fn start_once<W>(worker: &Mutex<Option<Worker>>, work: impl FnOnce(CancellationToken) -> W) -> PyResult<()>
where
    W: Future<Output = Result<(), Error>> + Send + 'static,
{
    let mut worker = worker.lock().unwrap_or_else(PoisonError::into_inner);
    if worker.as_ref().is_none_or(|worker| worker.task.is_finished()) {
        let stop = CancellationToken::new();
        let task = runtime::runtime()?.spawn(work(stop.clone()));
        *worker = Some(Worker { stop, task });
    }
    Ok(())
}

/// No more jobs are begun; those that run get the grace period.
async fn closed(app: App, workers: Vec<Worker>) {
    for worker in &workers {
        worker.stop.cancel();
    }
    for worker in workers {
        let ended = worker.task.await.map_err(|error| Error::internal("joining a worker", error));
        if let Err(error) = ended.and_then(|result| result) {
            tracing::error!(error = error.internal_text(), "a worker had failed");
        }
    }
    app.close().await;
}
