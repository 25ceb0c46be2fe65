"""Opening Kijko, and entering an organisation.

Everything exists twice under the same names: ``with kijko.connect(…) as client`` gives objects whose methods wait,
``async with kijko.connect(…) as client`` gives objects whose methods are awaited. One rule, so that no name has to
be learnt twice and a type checker sees a forgotten ``await``; and one client can serve both, by ``client.aio``.
"""

from __future__ import annotations

import asyncio
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import TracebackType
from typing import TypeVar
from uuid import UUID

from kijko._calls import Call, id_of, text
from kijko._kijko import Engine, Tenant
from kijko.errors import ClientUnusable, ConfigurationError, InvalidInput
from kijko.executions import AsyncExecutions, Executions
from kijko.models import ProviderT, starter
from kijko.skills import AsyncSkills, Skills

__all__ = [
    "AsyncClient",
    "AsyncOrganization",
    "AsyncWorker",
    "Client",
    "Organization",
    "Worker",
    "connect",
    "embedded",
]

T = TypeVar("T")

Setting = str | int | float | bool | os.PathLike[str] | list[str] | tuple[str, ...] | None


def connect(database_url: str, **settings: Setting) -> Client:
    """Kijko on a PostgreSQL of your own, beside any server that uses the same database.

    Args:
        database_url: Such as ``postgresql://user:password@host/kijko``; its schema must be up to date.
        settings: Every setting of ``docs/operations.md``, in lower case, such as ``anthropic_api_key="…"``. What is not
            given here, or None, is taken from the environment. Beside a server it needs the same ``encryption_key``, or
            the same ``kijko_data_dir`` that holds it.

    Returns:
        A client to open by ``with`` or ``async with``. Nothing is connected before that.
    """
    if not database_url.strip():
        problem = "database_url must not be empty; a database of its own is kijko.embedded()"
        raise ConfigurationError(problem, code="CONFIGURATION_INVALID", details={"problems": [problem]})
    return Client(_settings({"database_url": database_url, **settings}), works=False)


def embedded(
    data_dir: str | os.PathLike[str] | None = None, *, worker: bool = True, **settings: Setting
) -> Client:
    """Kijko on a PostgreSQL that it starts and stops by itself. It also runs jobs, unlike ``connect``.

    Args:
        data_dir: Where the data is kept; made when absent. None is Kijko's place in your data folder.
        worker: False leaves the jobs to others, such as :meth:`Client.worker`.
        settings: See :func:`connect`.

    Returns:
        A client to open by ``with`` or ``async with``.
    """
    # An empty value is no value: a DATABASE_URL of the environment does not count here.
    own: dict[str, Setting] = {"database_url": "", "database_owner_url": "", "database_worker_url": ""}
    if data_dir is not None:
        own["kijko_data_dir"] = os.path.abspath(os.fsdecode(data_dir))
    return Client(_settings({**own, **settings}), works=worker)


#: Nothing listens here, so what the environment says about that does not count.
_NO_SERVER: Mapping[str, Setting] = {"host": "", "port": ""}


def _settings(settings: Mapping[str, Setting]) -> list[tuple[str, str]]:
    given = {**_NO_SERVER, **settings}
    return [(name.upper(), _text(name, value)) for name, value in given.items() if value is not None]


def _text(name: str, value: Setting) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value):
        return ",".join(value)
    if isinstance(value, (str, int, float, os.PathLike)):
        return text(os.fspath(value) if isinstance(value, os.PathLike) else str(value))
    raise TypeError(f"{name} is a text, a number, a bool, a path or a list of texts, not {type(value).__name__}")


def _entrance(
    name: str | None,
    id: UUID | str | None,
    token: str | None,
    api_key: str | None,
    operator: str | None,
    reason: str | None,
) -> dict[str, str | None]:
    """What names an organisation and who enters it, if it fits together."""
    credentials = [one for one in (token, api_key, operator) if one is not None]
    for one in (name, token, api_key, operator, reason):
        text(one or "")
    if len(credentials) != 1:
        raise InvalidInput("Give one of token, api_key and operator", code="VALIDATION_ERROR", field="operator")
    if operator is None:
        if name is not None or id is not None or reason is not None:
            message = "A token or an API key belongs to one organisation; leave out name, id and reason"
            raise InvalidInput(message, code="VALIDATION_ERROR", field="name")
        return {"token": credentials[0]}
    if (name is None) == (id is None):
        raise InvalidInput("An operator names an organisation by name or by id", code="VALIDATION_ERROR", field="name")
    return {"name": name, "id": None if id is None else id_of(id), "operator": operator, "reason": reason}


def _refuse_open(engine: Engine | None) -> None:
    if engine is not None:
        raise ClientUnusable("This is open already; make another one", code="CLIENT_OPEN")


class Client:
    """An installation of Kijko in this process; open it by ``with``, or by ``async with`` for ``await``."""

    _engine: Engine | None = None

    def __init__(self, settings: list[tuple[str, str]], *, works: bool) -> None:
        self._settings = settings
        self._works = works

    @property
    def aio(self) -> AsyncClient:
        """The same client, with methods to ``await``."""
        return AsyncClient(self)

    def __enter__(self) -> Client:
        _refuse_open(self._engine)
        self._opened(Engine.open(self._settings))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> AsyncClient:
        _refuse_open(self._engine)
        self._opened(await Engine.open_async(self._settings))
        return self.aio

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aio.close()

    def _opened(self, engine: Engine) -> None:
        self._engine = engine
        if self._works:
            engine.start_worker()

    def _open(self) -> Engine:
        if self._engine is None:
            message = "This client is not open: use it inside `with` or `async with`"
            raise ClientUnusable(message, code="CLIENT_CLOSED")
        return self._engine

    def __del__(self) -> None:
        if self._engine is not None and not sys.is_finalizing():
            warnings.warn("a kijko.Client was not closed", ResourceWarning, source=self, stacklevel=1)

    def close(self) -> None:
        """Lets running work finish, within ``shutdown_grace_secs`` (30), and closes every connection.

        What runs longer ends as ``WORKER_LOST``. Twice does no harm, and an interrupted one goes on by itself.
        """
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def organization(
        self,
        name: str | None = None,
        *,
        id: UUID | str | None = None,
        token: str | None = None,
        api_key: str | None = None,
        operator: str | None = None,
        reason: str | None = None,
    ) -> Organization:
        """Enters an organisation: the only object with data.

        A program of yours enters as an operator: by name an organisation of its own, made when absent, or by id any,
        on behalf of its owner. The reason lands in the organisation's audit log.

        Args:
            name: With ``operator``: one of the operator's own organisations.
            id: With ``operator``: any organisation.
            token: An access token of somebody who signed in; each call asks anew whether it is still good.
            api_key: An API key; the same.
            operator: A name for the program that acts: letters, digits, hyphens, underscores and dots.
            reason: Why it does; at most 500 characters.

        Raises:
            Unauthenticated: The token or API key is no good.
            NotFound: There is no organisation of this id.
            InvalidInput: The arguments do not fit together, or break a rule.
        """
        entrance = _entrance(name, id, token, api_key, operator, reason)
        return Organization(self._open().organization(**entrance))

    def model_provider(
        self,
        name: str,
        *,
        input_cost_per_million: Decimal = Decimal(0),
        output_cost_per_million: Decimal = Decimal(0),
        max_output_tokens: int = 8192,
    ) -> Callable[[ProviderT], ProviderT]:
        """Registers a callable as a model: runs of skills that name it call it, in this process, whoever asks for them.

        The callable takes a :class:`~kijko.models.Question` and returns text, or yields it in pieces. It runs on a
        thread of its own; an ``async`` one runs in an event loop of its own, or, registered with an
        :class:`AsyncClient`, in yours. The core's rules hold: retries, time limits, cancellation, tokens and cost.

        Every organisation on the database can use the model, over HTTP too, for as long as this client is open. Runs
        wait for two minutes for it to come back. Several processes may serve the same model, and share its runs.

        Args:
            name: 1 to 100 characters; not that of a model that Kijko knows.
            input_cost_per_million: US dollars per million tokens of the prompt.
            output_cost_per_million: The same for the answer.
            max_output_tokens: The longest answer that it gives.

        Raises:
            InvalidInput: ``VALIDATION_ERROR``, when the decorated callable is registered.
        """
        rates = input_cost_per_million, output_cost_per_million
        return self._registration(name, rates, max_output_tokens, None)

    def _registration(
        self,
        name: str,
        rates: tuple[Decimal, Decimal],
        max_output_tokens: int,
        loop: asyncio.AbstractEventLoop | None,
    ) -> Callable[[ProviderT], ProviderT]:
        if not isinstance(name, str):
            raise TypeError("name the model: @client.model_provider(\"my-model\")")
        text(name)

        def register(provider: ProviderT) -> ProviderT:
            if not callable(provider):
                raise TypeError(f"a model is a callable, not {type(provider).__name__}")
            engine = self._open()
            start = starter(provider, loop, lambda: engine.withdraw_model(name))
            per_million = str(rates[0]), str(rates[1])
            # A loop is not held up; others know of the model a moment later.
            engine.offer_model(name, per_million, max_output_tokens, start, loop is None)
            return provider

        return register

    def worker(self, *, concurrency: int | None = None) -> Worker:
        """Runs jobs for as long as it is open, besides or instead of other processes on the same database.

        Args:
            concurrency: Runs at a time; the setting ``job_concurrency`` when None.
        """
        return Worker(self._worker_settings(concurrency))

    def _worker_settings(self, concurrency: int | None) -> list[tuple[str, str]]:
        self._open()
        return self._settings if concurrency is None else [*self._settings, ("JOB_CONCURRENCY", str(concurrency))]


class AsyncClient:
    """The same as :class:`Client`, to ``await``."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def model_provider(
        self,
        name: str,
        *,
        input_cost_per_million: Decimal = Decimal(0),
        output_cost_per_million: Decimal = Decimal(0),
        max_output_tokens: int = 8192,
    ) -> Callable[[ProviderT], ProviderT]:
        """See :meth:`Client.model_provider`. An ``async`` callable runs in the event loop that registers it."""
        rates = input_cost_per_million, output_cost_per_million
        return self._client._registration(name, rates, max_output_tokens, asyncio.get_running_loop())

    async def close(self) -> None:
        """See :meth:`Client.close`."""
        if self._client._engine is not None:
            await self._client._engine.close_async()
            self._client._engine = None

    async def organization(
        self,
        name: str | None = None,
        *,
        id: UUID | str | None = None,
        token: str | None = None,
        api_key: str | None = None,
        operator: str | None = None,
        reason: str | None = None,
    ) -> AsyncOrganization:
        """See :meth:`Client.organization`."""
        entrance = _entrance(name, id, token, api_key, operator, reason)
        return AsyncOrganization(await self._client._open().organization_async(**entrance))

    def worker(self, *, concurrency: int | None = None) -> AsyncWorker:
        """See :meth:`Client.worker`."""
        return AsyncWorker(self._client._worker_settings(concurrency))


class Worker:
    """Runs jobs; open it by ``with``. It has connections of its own."""

    def __init__(self, settings: list[tuple[str, str]]) -> None:
        self._settings = settings
        self._engine: Engine | None = None

    def __enter__(self) -> Worker:
        _refuse_open(self._engine)
        self._engine = Engine.open(self._settings)
        self._engine.start_worker()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None


class AsyncWorker:
    """The same as :class:`Worker`, by ``async with``."""

    def __init__(self, settings: list[tuple[str, str]]) -> None:
        self._settings = settings
        self._engine: Engine | None = None

    async def __aenter__(self) -> AsyncWorker:
        _refuse_open(self._engine)
        self._engine = await Engine.open_async(self._settings)
        self._engine.start_worker()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._engine is not None:
            await self._engine.close_async()
            self._engine = None


class Organization:
    """One organisation, as one caller sees it.

    Attributes:
        skills: See :class:`~kijko.skills.Skills`.
        executions: See :class:`~kijko.executions.Executions`.
    """

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self.skills = Skills(self)
        self.executions = Executions(self)

    def __repr__(self) -> str:
        return f"Organization(id={self.id!r}, name={self.name!r})"

    @property
    def id(self) -> UUID:
        """Names it."""
        return UUID(self._tenant.id)

    @property
    def name(self) -> str:
        """What it was called when it was entered."""
        return self._tenant.name

    @property
    def aio(self) -> AsyncOrganization:
        """The same organisation, with methods to ``await``."""
        return AsyncOrganization(self._tenant)

    def _make(self, call: Call[T]) -> T:
        return call.answer(self._tenant.call(call.name, call.target, call.body, call.key))


class AsyncOrganization:
    """The same as :class:`Organization`, to ``await``."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self.skills = AsyncSkills(self)
        self.executions = AsyncExecutions(self)

    def __repr__(self) -> str:
        return f"AsyncOrganization(id={self.id!r}, name={self.name!r})"

    @property
    def id(self) -> UUID:
        """See :attr:`Organization.id`."""
        return UUID(self._tenant.id)

    @property
    def name(self) -> str:
        """See :attr:`Organization.name`."""
        return self._tenant.name

    async def _make(self, call: Call[T]) -> T:
        return call.answer(await self._tenant.call_async(call.name, call.target, call.body, call.key))


