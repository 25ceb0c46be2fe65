"""Executions: one run of a skill each."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Generator
from datetime import date, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from kijko import _calls
from kijko.types import Execution, ExecutionStatus, ExecutionType

if TYPE_CHECKING:
    from kijko.client import AsyncOrganization, Organization

__all__ = ["AsyncExecutions", "Executions"]


def _seconds(timeout: float | None) -> float | None:
    if timeout is not None and math.isnan(timeout):
        raise ValueError("timeout is a number of seconds, or None")
    return timeout


def _ended(raw: bytes | None, timeout: float | None) -> Execution:
    if raw is None:
        raise TimeoutError(f"The execution has not ended within {timeout} seconds; it goes on")
    return Execution._of(json.loads(raw))


class Executions:
    """The runs of one organisation, as one caller sees them: ``org.executions``."""

    def __init__(self, organization: Organization) -> None:
        self._organization = organization

    def get(self, execution: UUID | str) -> Execution:
        """One run, as it stands now.

        Raises:
            NotFound: ``EXECUTION_NOT_FOUND``; also when it belongs to somebody else.
        """
        return self._organization._make(_calls.get_execution(execution))

    def list(
        self,
        *,
        skill: UUID | str | None = None,
        status: ExecutionStatus | str | None = None,
        execution_type: ExecutionType | str | None = None,
        start: datetime | date | None = None,
        end: datetime | date | None = None,
    ) -> Generator[Execution, None, None]:
        """Your runs, newest first, fetched a page at a time while you iterate.

        Args:
            skill: Only runs of this skill.
            status: Only runs that stand there.
            execution_type: Only runs that this started.
            start: Asked for at or after this moment; a day begins at 00:00 UTC.
            end: Asked for at or before this moment; a day counts to its end.

        Raises:
            InvalidInput: ``VALIDATION_ERROR``, when the first page is fetched.
        """
        after: str | None = None
        while True:
            call = _calls.list_executions(
                after=after, skill=skill, status=status, execution_type=execution_type, start=start, end=end
            )
            part = self._organization._make(call)
            yield from part.rows
            after = part.next
            if after is None:
                return

    def cancel(self, execution: UUID | str) -> None:
        """Ends a waiting or running run.

        Raises:
            NotFound: ``EXECUTION_NOT_FOUND``.
            Conflict: ``CANNOT_CANCEL`` when it has ended.
        """
        self._organization._make(_calls.cancel_execution(execution))

    def retry(self, execution: UUID | str, *, idempotency_key: str | None = None) -> UUID:
        """Runs what failed or was cancelled once more, with the present definition of its skill.

        Args:
            execution: Which one; it stays as it is.
            idempotency_key: A name for this very request: made again within 24 hours, it starts no second run.

        Returns:
            The new execution.

        Raises:
            NotFound: ``EXECUTION_NOT_FOUND``, ``SKILL_NOT_FOUND``.
            Conflict: ``CANNOT_RETRY``, ``SKILL_INACTIVE``, ``IDEMPOTENCY_CONFLICT``.
            InvalidInput, Unavailable, LimitReached: As when a skill is executed.
        """
        return self._organization._make(_calls.retry_execution(execution, idempotency_key))

    def wait(self, execution: UUID | str, *, timeout: float | None = None) -> Execution:
        """Waits for a run to end, however it ends; look at ``status``. Ctrl-C ends the wait, not the run.

        Args:
            execution: Which one.
            timeout: Seconds; None waits for as long as it takes, 0 looks once.

        Raises:
            TimeoutError: It has not ended in time; it goes on.
            NotFound: ``EXECUTION_NOT_FOUND``.
        """
        return _ended(self._organization._tenant.wait(_calls.id_of(execution), _seconds(timeout)), timeout)

    def stream(self, execution: UUID | str) -> Generator[str, None, None]:
        """The answer while it is being written: its output, all of it and nothing twice, until the run has ended.

        Who begins late, or misses a piece, gets the rest in one at the end. A run that fails or is cancelled just ends;
        ask ``get`` or ``wait`` what became of it.

        Raises:
            NotFound: ``EXECUTION_NOT_FOUND``.
        """
        stream = self._organization._tenant.follow(_calls.id_of(execution))
        while (piece := stream.next()) is not None:
            yield piece


class AsyncExecutions:
    """The same as :class:`Executions`, to ``await``."""

    def __init__(self, organization: AsyncOrganization) -> None:
        self._organization = organization

    async def get(self, execution: UUID | str) -> Execution:
        """See :meth:`Executions.get`."""
        return await self._organization._make(_calls.get_execution(execution))

    async def list(
        self,
        *,
        skill: UUID | str | None = None,
        status: ExecutionStatus | str | None = None,
        execution_type: ExecutionType | str | None = None,
        start: datetime | date | None = None,
        end: datetime | date | None = None,
    ) -> AsyncGenerator[Execution, None]:
        """See :meth:`Executions.list`."""
        after: str | None = None
        while True:
            call = _calls.list_executions(
                after=after, skill=skill, status=status, execution_type=execution_type, start=start, end=end
            )
            part = await self._organization._make(call)
            for execution in part.rows:
                yield execution
            after = part.next
            if after is None:
                return

    async def cancel(self, execution: UUID | str) -> None:
        """See :meth:`Executions.cancel`."""
        await self._organization._make(_calls.cancel_execution(execution))

    async def retry(self, execution: UUID | str, *, idempotency_key: str | None = None) -> UUID:
        """See :meth:`Executions.retry`."""
        return await self._organization._make(_calls.retry_execution(execution, idempotency_key))

    async def wait(self, execution: UUID | str, *, timeout: float | None = None) -> Execution:
        """See :meth:`Executions.wait`. Cancelling the task ends the wait, not the run."""
        ended = await self._organization._tenant.wait_async(_calls.id_of(execution), _seconds(timeout))
        return _ended(ended, timeout)

    async def stream(self, execution: UUID | str) -> AsyncGenerator[str, None]:
        """See :meth:`Executions.stream`."""
        stream = await self._organization._tenant.follow_async(_calls.id_of(execution))
        while (piece := await stream.next_async()) is not None:
            yield piece
