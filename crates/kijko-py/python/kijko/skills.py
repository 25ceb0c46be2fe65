"""Skills: reusable prompts with a model and an input schema."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from kijko import _calls
from kijko._calls import UNSET, Call, Unset
from kijko.types import (
    Accepted,
    InputField,
    OutputFormat,
    Parameters,
    Skill,
    SkillCategory,
    SkillSort,
    SkillStats,
    SkillVersion,
    StatsPeriod,
    TestRun,
)

if TYPE_CHECKING:
    from kijko.client import AsyncOrganization, Organization

__all__ = ["AsyncSkills", "Skills"]

#: Seconds between two looks at a test that is waited for.
_LOOK_INTERVAL = 0.1


def _deadline(timeout: float | None) -> float:
    return math.inf if timeout is None else time.monotonic() + timeout


def _check_deadline(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError("The test has not ended in time; it goes on")


class Skills:
    """The skills of one organisation, as one caller sees them: ``org.skills``."""

    def __init__(self, organization: Organization) -> None:
        self._organization = organization

    def create(
        self,
        *,
        name: str,
        prompt_template: str,
        description: str | None = None,
        category: SkillCategory | str | None = None,
        model: str | None = None,
        fallback_model: str | None = None,
        parameters: Parameters | Mapping[str, Any] | None = None,
        input_schema: Sequence[InputField | Mapping[str, Any]] | None = None,
        output_format: OutputFormat | str | None = None,
        is_active: bool | None = None,
    ) -> Skill:
        """Creates a skill; what is None takes the default of the contract.

        Args:
            name: 1 to 100 characters: letters, digits, white space, hyphen, underscore, parentheses. Unique per owner.
            prompt_template: 20 to 10 000 characters; variables are written ``{{name}}``.
            description: At most 500 characters.
            category: ``custom`` when None.
            model: The product's name of a model; checked when the skill runs, not here.
            fallback_model: What stands in when the provider of the first is down.
            parameters: How the model is sampled; temperature 1 and 4096 tokens when None.
            input_schema: The template's variables, at most 50.
            output_format: ``markdown`` when None.
            is_active: True when None.

        Raises:
            InvalidInput: ``VALIDATION_ERROR``; the error names every offending member.
            Conflict: ``SKILL_NAME_EXISTS``.
            Forbidden: The caller may not change skills.
        """
        call = _calls.create_skill(
            name=name,
            prompt_template=prompt_template,
            description=description,
            category=category,
            model=model,
            fallback_model=fallback_model,
            parameters=parameters,
            input_schema=input_schema,
            output_format=output_format,
            is_active=is_active,
        )
        return self._organization._make(call)

    def get(self, skill: UUID | str) -> Skill:
        """One skill.

        Raises:
            NotFound: ``SKILL_NOT_FOUND``; also when it belongs to somebody else.
        """
        return self._organization._make(_calls.get_skill(skill))

    def list(
        self,
        *,
        category: SkillCategory | str | Iterable[SkillCategory | str] | None = None,
        is_active: bool | None = None,
        search: str | None = None,
        sort: SkillSort | str | None = None,
    ) -> Generator[Skill, None, None]:
        """Your skills, fetched a page at a time while you iterate.

        What changes its place meanwhile can be missed or come twice; for changing what you iterate over, take
        ``list(org.skills.list())`` first.

        Args:
            category: One category, or several.
            is_active: Only those that can, or cannot, be run.
            search: Part of the name or the description, ignoring case.
            sort: ``updated`` (newest first) when None.

        Raises:
            InvalidInput: ``VALIDATION_ERROR``, when the first page is fetched.
        """
        page = 1
        while True:
            call = _calls.list_skills(page=page, category=category, is_active=is_active, search=search, sort=sort)
            part = self._organization._make(call)
            yield from part.rows
            if page * _calls.PAGE_SIZE >= part.total or not part.rows:
                return
            page += 1

    def update(
        self,
        skill: UUID | str,
        *,
        name: str | Unset = UNSET,
        description: str | Unset | None = UNSET,
        category: SkillCategory | str | Unset = UNSET,
        prompt_template: str | Unset = UNSET,
        model: str | Unset = UNSET,
        fallback_model: str | Unset | None = UNSET,
        parameters: Parameters | Mapping[str, Any] | Unset = UNSET,
        input_schema: Sequence[InputField | Mapping[str, Any]] | Unset | None = UNSET,
        output_format: OutputFormat | str | Unset = UNSET,
        is_active: bool | Unset = UNSET,
    ) -> Skill:
        """Changes what is named; the rest keeps its value. None clears ``description``, ``input_schema``
        and ``fallback_model``.

        Raises:
            NotFound: ``SKILL_NOT_FOUND``.
            InvalidInput: ``VALIDATION_ERROR``.
            Conflict: ``SKILL_NAME_EXISTS``.
        """
        call = _calls.update_skill(
            skill,
            name=name,
            description=description,
            category=category,
            prompt_template=prompt_template,
            model=model,
            fallback_model=fallback_model,
            parameters=parameters,
            input_schema=input_schema,
            output_format=output_format,
            is_active=is_active,
        )
        return self._organization._make(call)

    def delete(self, skill: UUID | str) -> None:
        """Deletes a skill and cancels its waiting and running executions; its history stays.

        Raises:
            NotFound: ``SKILL_NOT_FOUND``.
        """
        self._organization._make(_calls.delete_skill(skill))

    def execute(
        self, skill: UUID | str, input: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> Accepted:
        """Asks for a run and returns at once; see ``org.executions.wait`` and ``org.executions.stream``.

        Args:
            skill: Which one.
            input: Values of the template's variables; at most 1 MiB as JSON, 32 levels deep.
            idempotency_key: A name for this very request: made again within 24 hours, it starts no second run.

        Raises:
            NotFound: ``SKILL_NOT_FOUND``.
            Conflict: ``SKILL_INACTIVE``, ``IDEMPOTENCY_CONFLICT``.
            InvalidInput: ``INVALID_INPUT``, ``MODEL_NOT_SUPPORTED``, ``VALIDATION_ERROR``.
            Unavailable: ``PROVIDER_NOT_CONFIGURED``.
            LimitReached: ``TOO_MANY_ACTIVE_EXECUTIONS`` and the limits of the plan.
        """
        return self._organization._make(_calls.execute_skill(skill, input, idempotency_key))

    def test(self, skill: UUID | str, input: Mapping[str, Any] | None = None, *, timeout: float | None = 300) -> TestRun:
        """Tries a skill without a trace in history and waits for what comes of it; look at ``status``.

        It counts against the limits of the plan. Inactive skills can be tried too, and the input is not held against
        the schema.

        Args:
            skill: Which one.
            input: Values of the template's variables.
            timeout: Seconds to wait; None waits for as long as it takes.

        Raises:
            NotFound: ``SKILL_NOT_FOUND``.
            InvalidInput: ``MODEL_NOT_SUPPORTED``, ``VALIDATION_ERROR``.
            TimeoutError: It has not ended in time.
        """
        return self._tried(_calls.test_skill(skill, input), timeout)

    def test_draft(
        self,
        *,
        prompt_template: str,
        system_prompt: str | None = None,
        model: str | None = None,
        parameters: Parameters | Mapping[str, Any] | None = None,
        input: Mapping[str, Any] | None = None,
        timeout: float | None = 300,
    ) -> TestRun:
        """Tries what is not stored; see :meth:`test`.

        Args:
            prompt_template: 10 to 200 000 characters.
            system_prompt: At most 20 000 characters; the system instruction.
            model: The default model when None.
            parameters: How the model is sampled.
            input: Values of the template's variables.
            timeout: Seconds to wait; None waits for as long as it takes.
        """
        call = _calls.test_draft(
            prompt_template=prompt_template,
            system_prompt=system_prompt,
            model=model,
            parameters=parameters,
            input=input,
        )
        return self._tried(call, timeout)

    def _tried(self, call: Call[TestRun], timeout: float | None) -> TestRun:
        deadline = _deadline(timeout)
        test = self._organization._make(call)
        while not test.status.is_final:
            _check_deadline(deadline)
            time.sleep(_LOOK_INTERVAL)
            test = self._organization._make(_calls.get_test(test.id))
        return test

    def versions(self, skill: UUID | str) -> Generator[SkillVersion, None, None]:
        """The definitions that a skill had, the latest first, without what they define; see :meth:`version`.

        Raises:
            NotFound: ``SKILL_NOT_FOUND``, when the first page is fetched.
        """
        page = 1
        while True:
            part = self._organization._make(_calls.list_versions(skill, page=page))
            yield from part.rows
            if page * _calls.PAGE_SIZE >= part.total or not part.rows:
                return
            page += 1

    def version(self, skill: UUID | str, number: int) -> SkillVersion:
        """One definition of a skill.

        Raises:
            NotFound: ``SKILL_NOT_FOUND``, ``VERSION_NOT_FOUND``.
        """
        return self._organization._make(_calls.get_version(skill, number))

    def restore(self, skill: UUID | str, number: int) -> Skill:
        """Gives a skill the definition of an earlier version, as a new version.

        Raises:
            NotFound: ``SKILL_NOT_FOUND``, ``VERSION_NOT_FOUND``.
        """
        return self._organization._make(_calls.restore_version(skill, number))

    def duplicate(self, skill: UUID | str, *, new_name: str | None = None) -> Skill:
        """A copy of a skill, without its history.

        Args:
            skill: Which one.
            new_name: The name followed by ``(Copy)`` when None.

        Raises:
            NotFound: ``SKILL_NOT_FOUND``.
            Conflict: ``SKILL_NAME_EXISTS``.
            InvalidInput: ``VALIDATION_ERROR``.
        """
        return self._organization._make(_calls.duplicate_skill(skill, new_name))

    def export(self, skill: UUID | str) -> dict[str, Any]:
        """A skill as JSON to take along, without ids, counters and dates; see :meth:`import_`.

        Raises:
            NotFound: ``SKILL_NOT_FOUND``.
        """
        return self._organization._make(_calls.export_skill(skill))

    def import_(self, exported: Mapping[str, Any]) -> Skill:
        """Makes a skill of an export. A name that is taken gets a number.

        Raises:
            InvalidInput: ``VALIDATION_ERROR``, ``UNSUPPORTED_VERSION``.
        """
        return self._organization._make(_calls.import_skill(exported))

    def stats(self, skill: UUID | str, *, period: StatsPeriod | str = StatsPeriod.MONTH) -> SkillStats:
        """What the runs of a skill add up to.

        Raises:
            NotFound: ``SKILL_NOT_FOUND``.
            InvalidInput: ``VALIDATION_ERROR``.
        """
        return self._organization._make(_calls.skill_stats(skill, period))


class AsyncSkills:
    """The same as :class:`Skills`, to ``await``."""

    def __init__(self, organization: AsyncOrganization) -> None:
        self._organization = organization

    async def create(
        self,
        *,
        name: str,
        prompt_template: str,
        description: str | None = None,
        category: SkillCategory | str | None = None,
        model: str | None = None,
        fallback_model: str | None = None,
        parameters: Parameters | Mapping[str, Any] | None = None,
        input_schema: Sequence[InputField | Mapping[str, Any]] | None = None,
        output_format: OutputFormat | str | None = None,
        is_active: bool | None = None,
    ) -> Skill:
        """See :meth:`Skills.create`."""
        call = _calls.create_skill(
            name=name,
            prompt_template=prompt_template,
            description=description,
            category=category,
            model=model,
            fallback_model=fallback_model,
            parameters=parameters,
            input_schema=input_schema,
            output_format=output_format,
            is_active=is_active,
        )
        return await self._organization._make(call)

    async def get(self, skill: UUID | str) -> Skill:
        """See :meth:`Skills.get`."""
        return await self._organization._make(_calls.get_skill(skill))

    async def list(
        self,
        *,
        category: SkillCategory | str | Iterable[SkillCategory | str] | None = None,
        is_active: bool | None = None,
        search: str | None = None,
        sort: SkillSort | str | None = None,
    ) -> AsyncGenerator[Skill, None]:
        """See :meth:`Skills.list`."""
        page = 1
        while True:
            call = _calls.list_skills(page=page, category=category, is_active=is_active, search=search, sort=sort)
            part = await self._organization._make(call)
            for skill in part.rows:
                yield skill
            if page * _calls.PAGE_SIZE >= part.total or not part.rows:
                return
            page += 1

    async def update(
        self,
        skill: UUID | str,
        *,
        name: str | Unset = UNSET,
        description: str | Unset | None = UNSET,
        category: SkillCategory | str | Unset = UNSET,
        prompt_template: str | Unset = UNSET,
        model: str | Unset = UNSET,
        fallback_model: str | Unset | None = UNSET,
        parameters: Parameters | Mapping[str, Any] | Unset = UNSET,
        input_schema: Sequence[InputField | Mapping[str, Any]] | Unset | None = UNSET,
        output_format: OutputFormat | str | Unset = UNSET,
        is_active: bool | Unset = UNSET,
    ) -> Skill:
        """See :meth:`Skills.update`."""
        call = _calls.update_skill(
            skill,
            name=name,
            description=description,
            category=category,
            prompt_template=prompt_template,
            model=model,
            fallback_model=fallback_model,
            parameters=parameters,
            input_schema=input_schema,
            output_format=output_format,
            is_active=is_active,
        )
        return await self._organization._make(call)

    async def delete(self, skill: UUID | str) -> None:
        """See :meth:`Skills.delete`."""
        await self._organization._make(_calls.delete_skill(skill))

    async def execute(
        self, skill: UUID | str, input: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> Accepted:
        """See :meth:`Skills.execute`."""
        return await self._organization._make(_calls.execute_skill(skill, input, idempotency_key))

    async def test(self, skill: UUID | str, input: Mapping[str, Any] | None = None, *, timeout: float | None = 300) -> TestRun:
        """See :meth:`Skills.test`."""
        return await self._tried(_calls.test_skill(skill, input), timeout)

    async def test_draft(
        self,
        *,
        prompt_template: str,
        system_prompt: str | None = None,
        model: str | None = None,
        parameters: Parameters | Mapping[str, Any] | None = None,
        input: Mapping[str, Any] | None = None,
        timeout: float | None = 300,
    ) -> TestRun:
        """See :meth:`Skills.test_draft`."""
        call = _calls.test_draft(
            prompt_template=prompt_template,
            system_prompt=system_prompt,
            model=model,
            parameters=parameters,
            input=input,
        )
        return await self._tried(call, timeout)

    async def _tried(self, call: Call[TestRun], timeout: float | None) -> TestRun:
        deadline = _deadline(timeout)
        test = await self._organization._make(call)
        while not test.status.is_final:
            _check_deadline(deadline)
            await asyncio.sleep(_LOOK_INTERVAL)
            test = await self._organization._make(_calls.get_test(test.id))
        return test

    async def versions(self, skill: UUID | str) -> AsyncGenerator[SkillVersion, None]:
        """See :meth:`Skills.versions`."""
        page = 1
        while True:
            part = await self._organization._make(_calls.list_versions(skill, page=page))
            for one in part.rows:
                yield one
            if page * _calls.PAGE_SIZE >= part.total or not part.rows:
                return
            page += 1

    async def version(self, skill: UUID | str, number: int) -> SkillVersion:
        """See :meth:`Skills.version`."""
        return await self._organization._make(_calls.get_version(skill, number))

    async def restore(self, skill: UUID | str, number: int) -> Skill:
        """See :meth:`Skills.restore`."""
        return await self._organization._make(_calls.restore_version(skill, number))

    async def duplicate(self, skill: UUID | str, *, new_name: str | None = None) -> Skill:
        """See :meth:`Skills.duplicate`."""
        return await self._organization._make(_calls.duplicate_skill(skill, new_name))

    async def export(self, skill: UUID | str) -> dict[str, Any]:
        """See :meth:`Skills.export`."""
        return await self._organization._make(_calls.export_skill(skill))

    async def import_(self, exported: Mapping[str, Any]) -> Skill:
        """See :meth:`Skills.import_`."""
        return await self._organization._make(_calls.import_skill(exported))

    async def stats(self, skill: UUID | str, *, period: StatsPeriod | str = StatsPeriod.MONTH) -> SkillStats:
        """See :meth:`Skills.stats`."""
        return await self._organization._make(_calls.skill_stats(skill, period))
