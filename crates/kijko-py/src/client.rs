//! An open core. Every method exists twice: once to wait for, once to await.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use kijko_core::domain::offered_models::OfferedModel;
use kijko_core::services::{programs, worker};
use kijko_core::{App, Config, Error};
use pyo3::prelude::*;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::opened::Opened;
use crate::programs::Callable;
use crate::tenant::{Caller, Tenant};
use crate::{errors, runtime};

/// A connected core. Belongs to the process that opened it.
#[pyclass(frozen, module = "kijko._kijko")]
pub struct Engine {
    opened: Opened,
    workers: Mutex<Workers>,
}

#[derive(Default)]
struct Workers {
    /// It goes on when whoever asked for it waits no more.
    closing: Option<Closing>,
    ordinary: Option<Worker>,
    /// Runs what calls for the models that this process offers.
    serving: Option<Worker>,
}

type Closing = Shared<BoxFuture<'static, ()>>;

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

    /// Lets `start` answer for a model, in runs of any process on this database; see `kijko.models`. With `wait`, others
    /// know of it when this returns.
    fn offer_model(
        &self,
        py: Python<'_>,
        name: String,
        costs_per_million: (String, String),
        max_output_tokens: u32,
        start: Py<PyAny>,
        wait: bool,
    ) -> PyResult<()> {
        self.opened.usable()?;
        let rate = |field: &str, text: &str| {
            let mistake = || Error::invalid(field, "type", format!("{field} must be a decimal number, not {text}"));
            text.parse().map_err(|_| errors::raised(&mistake()))
        };
        let model = OfferedModel {
            name,
            input_cost_per_million: rate("inputCostPerMillion", &costs_per_million.0)?,
            output_cost_per_million: rate("outputCostPerMillion", &costs_per_million.1)?,
            max_output_tokens,
        };
        let program = Arc::new(Callable { start });
        let offered = match wait {
            true => runtime::wait(py, programs::offer(&self.opened.app, model, program))?,
            false => programs::offer_soon(&self.opened.app, model, program),
        };
        offered.map_err(|error| errors::raised(&error))?;
        let app = self.opened.app.clone();
        self.start(|workers| &mut workers.serving, |stop| async move { worker::serve_models(&app, stop).await })
    }

    /// Others that serve the model go on.
    fn withdraw_model(&self, name: &str) {
        programs::withdraw(&self.opened.app, name);
    }

    /// Runs jobs in this process from now on; does nothing when it does already.
    fn start_worker(&self) -> PyResult<()> {
        self.opened.usable()?;
        let app = self.opened.app.clone();
        self.start(|workers| &mut workers.ordinary, |stop| async move { worker::run(&app, stop).await })
    }

    /// Twice does no harm, and ends when the first does.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let closing = self.closing()?;
        runtime::wait(py, closing)
    }

    fn close_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let closing = self.closing()?;
        runtime::promise(py, async move {
            closing.await;
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
        Ok(Self { opened: Opened::new(app), workers: Mutex::default() })
    }

    /// Does nothing while it runs already.
    fn start<W>(
        &self,
        which: impl FnOnce(&mut Workers) -> &mut Option<Worker>,
        work: impl FnOnce(CancellationToken) -> W,
    ) -> PyResult<()>
    where
        W: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that nothing starts behind the back of who closes.
        self.opened.usable()?;
        let worker = which(&mut workers);
        if worker.as_ref().is_none_or(|worker| worker.task.is_finished()) {
            let stop = CancellationToken::new();
            let task = runtime::runtime()?.spawn(work(stop.clone()));
            *worker = Some(Worker { stop, task });
        }
        Ok(())
    }

    fn closing(&self) -> PyResult<Closing> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(closing) = &workers.closing {
            return Ok(closing.clone());
        }
        self.opened.usable()?;
        self.opened.close();
        let ended = [workers.ordinary.take(), workers.serving.take()].into_iter().flatten().collect();
        let task = runtime::runtime()?.spawn(closed(self.opened.app.clone(), ended));
        let closing = async move { task.await.unwrap_or(()) }.boxed().shared();
        workers.closing = Some(closing.clone());
        Ok(closing)
    }

    fn entering(
        &self,
        name: Option<String>,
        id: Option<String>,
        token: Option<String>,
        operator: Option<String>,
        reason: Option<String>,
    ) -> PyResult<impl Future<Output = PyResult<Tenant>> + Send + 'static> {
        self.opened.usable()?;
        let opened = self.opened.clone();
        Ok(async move {
            let entered = async {
                let caller = match token {
                    Some(token) => Caller::Bearer(token),
                    None => Caller::enter(&opened.app, name, id, operator, reason).await?,
                };
                Tenant::of(opened.clone(), caller).await
            };
            opened.answer(entered).await
        })
    }
}

fn configured(settings: &[(String, String)]) -> PyResult<Config> {
    let flags: Vec<(&str, String)> = settings.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    Config::load(&flags).map_err(|error| errors::misconfigured(&error))
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
