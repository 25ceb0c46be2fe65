//! An organisation that somebody entered, and what they do there.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use kijko_core::domain::administration::OrganizationRecord;
use kijko_core::domain::ids::OrganizationId;
use kijko_core::domain::sessions::Origin;
use kijko_core::services::identity::{self, Operator};
use kijko_core::services::operators::{self, Entrance};
use kijko_core::services::pieces::{self, Following};
use kijko_core::{App, Code, Error, TenantContext};
use pyo3::prelude::*;

use crate::calls::{self, Demand};
use crate::opened::Opened;
use crate::{errors, runtime};

/// Who acts. Whoever came with a credential is identified anew for each call, so that a lost right is lost at once.
pub enum Caller {
    Bearer(String),
    Operator(TenantContext, OrganizationRecord),
}

impl Caller {
    pub async fn enter(
        app: &App,
        name: Option<String>,
        id: Option<String>,
        operator: Option<String>,
        reason: Option<String>,
    ) -> Result<Self, Error> {
        let operator = Operator { name: operator.unwrap_or_default(), reason: reason.unwrap_or_default() };
        let entrance = match id {
            Some(id) => Entrance::Known(id.parse().map_err(|_| Error::not_found(Code::NotFound))?),
            None => Entrance::Named(name.unwrap_or_default()),
        };
        let (ctx, record) = operators::enter(app, &operator, &entrance).await?;
        Ok(Self::Operator(ctx, record))
    }

    /// Proof that they may, refused like a request over HTTP.
    async fn context(&self, app: &App, demand: Demand) -> Result<TenantContext, Error> {
        let token = match self {
            Self::Operator(ctx, _) => return Ok(ctx.clone()),
            Self::Bearer(token) => token,
        };
        let identity = identity::authenticate(app, Some(token)).await?;
        if !identity.holds(demand) {
            return Err(Error::Forbidden { code: Code::InsufficientScope });
        }
        identity.context(Origin {
            request_id: app.new_request_id(),
            user_agent: Some(concat!("kijko-python/", env!("CARGO_PKG_VERSION")).to_owned()),
            // There is no connection that it could come from.
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        })
    }

    async fn organization(&self, app: &App) -> Result<(OrganizationId, String), Error> {
        let token = match self {
            Self::Operator(_, record) => return Ok((record.id, record.name.clone())),
            Self::Bearer(token) => token,
        };
        let identity = identity::authenticate(app, Some(token)).await?;
        let membership = identity.account.membership.as_ref();
        let organization = &membership.ok_or(Error::Forbidden { code: Code::NoOrganization })?.organization;
        Ok((organization.id, organization.name.clone()))
    }
}

/// The only object with data: one organisation, as one caller sees it.
#[pyclass(frozen, module = "kijko._kijko")]
pub struct Tenant {
    opened: Opened,
    caller: Arc<Caller>,
    #[pyo3(get)]
    id: String,
    #[pyo3(get)]
    name: String,
}

#[pymethods]
impl Tenant {
    /// What the call answers, as JSON. `target` is what a path would name, `body` what a request would carry, and `key`
    /// makes a repeated call get the first one's answer.
    #[pyo3(signature = (call, target=None, body=None, key=None))]
    fn call(
        &self,
        py: Python<'_>,
        call: &str,
        target: Option<&str>,
        body: Option<&[u8]>,
        key: Option<&str>,
    ) -> PyResult<Vec<u8>> {
        let work = self.work(call, target, body, key)?;
        runtime::wait(py, work)?
    }

    #[pyo3(signature = (call, target=None, body=None, key=None))]
    fn call_async<'py>(
        &self,
        py: Python<'py>,
        call: &str,
        target: Option<&str>,
        body: Option<&[u8]>,
        key: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        runtime::promise(py, self.work(call, target, body, key)?)
    }

    /// The execution once it has ended, as JSON; None when that takes longer than `seconds`.
    #[pyo3(signature = (execution, seconds=None))]
    fn wait(&self, py: Python<'_>, execution: &str, seconds: Option<f64>) -> PyResult<Option<Vec<u8>>> {
        let work = self.ending(execution, seconds)?;
        runtime::wait(py, work)?
    }

    /// Begins to follow an execution.
    fn follow(&self, py: Python<'_>, execution: &str) -> PyResult<Stream> {
        runtime::wait(py, self.following(execution)?)?
    }

    fn follow_async<'py>(&self, py: Python<'py>, execution: &str) -> PyResult<Bound<'py, PyAny>> {
        runtime::promise(py, self.following(execution)?)
    }

    #[pyo3(signature = (execution, seconds=None))]
    fn wait_async<'py>(&self, py: Python<'py>, execution: &str, seconds: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        runtime::promise(py, self.ending(execution, seconds)?)
    }
}

impl Tenant {
    pub async fn of(opened: Opened, caller: Caller) -> Result<Self, Error> {
        let (id, name) = caller.organization(&opened.app).await?;
        Ok(Self { opened, caller: Arc::new(caller), id: id.to_string(), name })
    }

    fn work(
        &self,
        call: &str,
        target: Option<&str>,
        body: Option<&[u8]>,
        key: Option<&str>,
    ) -> PyResult<impl Future<Output = PyResult<Vec<u8>>> + Send + 'static> {
        self.opened.usable()?;
        let (opened, caller) = (self.opened.clone(), self.caller.clone());
        let (call, target, key) = (call.to_owned(), target.map(str::to_owned), key.map(str::to_owned));
        let body = body.unwrap_or(b"{}").to_vec();
        Ok(async move {
            let work = async {
                let ctx = caller.context(&opened.app, calls::demand(&call)).await?;
                calls::answer(&opened.app, &ctx, &call, target.as_deref(), &body, key.as_deref()).await
            };
            opened.answer(work).await
        })
    }

    fn following(&self, execution: &str) -> PyResult<impl Future<Output = PyResult<Stream>> + Send + 'static> {
        self.opened.usable()?;
        let (opened, caller) = (self.opened.clone(), self.caller.clone());
        let id = execution.parse().map_err(|_| errors::raised(&Error::not_found(Code::ExecutionNotFound)))?;
        Ok(async move {
            let follow = async {
                let ctx = caller.context(&opened.app, Demand::Read).await?;
                pieces::follow(&opened.app, &ctx, id).await
            };
            let following = opened.answer(follow).await?;
            Ok(Stream { opened, caller, following: Arc::new(tokio::sync::Mutex::new(following)) })
        })
    }

    fn ending(
        &self,
        execution: &str,
        seconds: Option<f64>,
    ) -> PyResult<impl Future<Output = PyResult<Option<Vec<u8>>>> + Send + 'static> {
        self.opened.usable()?;
        let (opened, caller, execution) = (self.opened.clone(), self.caller.clone(), execution.to_owned());
        let limit = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok());
        Ok(async move {
            let look = async || {
                let ctx = caller.context(&opened.app, Demand::Read).await?;
                calls::ended(&opened.app, &ctx, &execution).await
            };
            let look_again = async {
                for pause in calls::pauses() {
                    tokio::time::sleep(pause).await;
                    if let Some(ended) = look().await? {
                        return Ok(Some(ended));
                    }
                }
                Ok(None)
            };
            let ended = async {
                // Once, however short the time is.
                if let Some(ended) = look().await? {
                    return Ok(Some(ended));
                }
                match limit {
                    Some(limit) => tokio::time::timeout(limit, look_again).await.unwrap_or(Ok(None)),
                    None => look_again.await,
                }
            };
            opened.answer(ended).await
        })
    }
}

/// An answer while it is being written.
#[pyclass(frozen, module = "kijko._kijko")]
pub struct Stream {
    opened: Opened,
    caller: Arc<Caller>,
    following: Arc<tokio::sync::Mutex<Following>>,
}

#[pymethods]
impl Stream {
    /// The next piece, or None when the execution has ended.
    fn next(&self, py: Python<'_>) -> PyResult<Option<String>> {
        runtime::wait(py, self.piece()?)?
    }

    fn next_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        runtime::promise(py, self.piece()?)
    }
}

impl Stream {
    fn piece(&self) -> PyResult<impl Future<Output = PyResult<Option<String>>> + Send + 'static> {
        self.opened.usable()?;
        let (opened, caller, following) = (self.opened.clone(), self.caller.clone(), self.following.clone());
        Ok(async move {
            let next = async {
                let ctx = caller.context(&opened.app, Demand::Read).await?;
                following.lock().await.next(&opened.app, &ctx).await
            };
            opened.answer(next).await
        })
    }
}
