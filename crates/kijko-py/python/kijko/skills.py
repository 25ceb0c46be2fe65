"""Skills: reusable prompts with a model and an input schema."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from kijko import _calls
from kijko._calls import UNSET, Unset
from kijko.types import Accepted, InputField, OutputFormat, Parameters, Skill, SkillCategory, SkillSort

if TYPE_CHECKING:
    from kijko.client import AsyncOrganization, Organization

__all__ = ["AsyncSkills", "Skills"]


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
    ) -> Iterator[Skill]:
        """Your skills, fetched a page at a time while you iterate.

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
        parameters: Parameters | Mapping[str, Any] | Unset = UNSET,
        input_schema: Sequence[InputField | Mapping[str, Any]] | Unset | None = UNSET,
        output_format: OutputFormat | str | Unset = UNSET,
        is_active: bool | Unset = UNSET,
    ) -> Skill:
        """Changes what is named; the rest keeps its value. None clears ``description`` and ``input_schema``.

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
    ) -> AsyncIterator[Skill]:
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
