"""The calls, made once for both faces: what goes in, and what becomes of the answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from kijko.errors import InvalidInput
from kijko.types import (
    Accepted,
    Execution,
    ExecutionStatus,
    ExecutionType,
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

T = TypeVar("T")


class Unset:
    """The type of `UNSET`: an argument that was left out, where None means something."""

    def __repr__(self) -> str:
        return "UNSET"

    def __reduce__(self) -> str:
        # There is one, however often it is copied.
        return "UNSET"


#: The value of an argument that was left out.
UNSET: Final = Unset()


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call of the core."""

    name: str
    target: str | None
    body: bytes | None
    read: Callable[[Any], T]
    key: str | None = None

    def __post_init__(self) -> None:
        if self.key is not None:
            text(self.key)

    def answer(self, raw: bytes) -> T:
        return self.read(json.loads(raw))


@dataclass(frozen=True, slots=True)
class Rows(Generic[T]):
    """A part of a list, and where the next one begins, if that is told."""

    rows: list[T]
    total: int
    next: str | None = None


#: How many rows a lazy list asks for at a time.
PAGE_SIZE: Final = 100


def _body(members: Mapping[str, Any]) -> bytes:
    """JSON of what was given. What JSON cannot say is refused like any other bad input."""
    given = {name: value for name, value in members.items() if not isinstance(value, Unset)}
    try:
        return json.dumps(given, allow_nan=False, separators=(",", ":"), default=_plain).encode()
    except (TypeError, ValueError, RecursionError) as problem:
        message = f"This cannot be written as JSON: {problem}"
        raise InvalidInput(message, code="VALIDATION_ERROR") from problem


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} has no place in JSON")


def text(value: str) -> str:
    """What Rust can take: Python's texts may hold halves of characters."""
    try:
        value.encode()
    except UnicodeEncodeError as problem:
        raise InvalidInput(f"This is no text: {problem}", code="VALIDATION_ERROR") from problem
    return value


def id_of(value: UUID | str) -> str:
    if isinstance(value, (UUID, str)):
        return text(str(value))
    raise TypeError(f"an id is a UUID or a str, not {type(value).__name__}")


def _input(value: Mapping[str, Any] | None) -> dict[str, Any]:
    if value is None or isinstance(value, Mapping):
        return dict(value or {})
    raise TypeError(f"input is a mapping of names to values, not {type(value).__name__}")


def _given(value: T | None) -> T | Unset:
    return UNSET if value is None else value


def _parameters(value: Parameters | Mapping[str, Any] | Unset) -> Any:
    return value.to_dict() if isinstance(value, Parameters) else value


def _schema(value: Sequence[InputField | Mapping[str, Any]] | Unset | None) -> Any:
    if value is None or isinstance(value, Unset):
        return value
    return [one.to_dict() if isinstance(one, InputField) else one for one in value]


def _nothing(_: Any) -> None:
    return None


def _rows(read: Callable[[Any], T]) -> Callable[[Any], Rows[T]]:
    return lambda answer: Rows([read(row) for row in answer["rows"]], answer["total"], answer.get("next"))


def _moment(value: datetime | date | None) -> str | Unset:
    if value is None:
        return UNSET
    if isinstance(value, datetime) and value.tzinfo is None:
        raise InvalidInput("A datetime without a time zone has no meaning here", code="VALIDATION_ERROR")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"a moment is a datetime or a date, not {type(value).__name__}")


def create_skill(
    *,
    name: str,
    prompt_template: str,
    description: str | None,
    category: SkillCategory | str | None,
    model: str | None,
    fallback_model: str | None,
    parameters: Parameters | Mapping[str, Any] | None,
    input_schema: Sequence[InputField | Mapping[str, Any]] | None,
    output_format: OutputFormat | str | None,
    is_active: bool | None,
) -> Call[Skill]:
    body = _body(
        {
            "name": name,
            "promptTemplate": prompt_template,
            "description": _given(description),
            "category": _given(category),
            "model": _given(model),
            "fallbackModel": _given(fallback_model),
            "parameters": _parameters(_given(parameters)),
            "inputSchema": _schema(_given(input_schema)),
            "outputFormat": _given(output_format),
            "isActive": _given(is_active),
        }
    )
    return Call("skills.create", None, body, Skill._of)


def get_skill(skill: UUID | str) -> Call[Skill]:
    return Call("skills.get", id_of(skill), None, Skill._of)


def list_skills(
    *,
    page: int,
    category: SkillCategory | str | Iterable[SkillCategory | str] | None,
    is_active: bool | None,
    search: str | None,
    sort: SkillSort | str | None,
) -> Call[Rows[Skill]]:
    categories = [category] if isinstance(category, str) else list(category or [])
    body = _body(
        {
            "category": ",".join(categories) or UNSET,
            "isActive": _given(is_active),
            "search": _given(search),
            "sort": _given(sort),
            "page": page,
            "pageSize": PAGE_SIZE,
        }
    )
    return Call("skills.list", None, body, _rows(Skill._of))


def update_skill(
    skill: UUID | str,
    *,
    name: str | Unset,
    description: str | Unset | None,
    category: SkillCategory | str | Unset,
    prompt_template: str | Unset,
    model: str | Unset,
    fallback_model: str | Unset | None,
    parameters: Parameters | Mapping[str, Any] | Unset,
    input_schema: Sequence[InputField | Mapping[str, Any]] | Unset | None,
    output_format: OutputFormat | str | Unset,
    is_active: bool | Unset,
) -> Call[Skill]:
    body = _body(
        {
            "name": name,
            "description": description,
            "category": category,
            "promptTemplate": prompt_template,
            "model": model,
            "fallbackModel": fallback_model,
            "parameters": _parameters(parameters),
            "inputSchema": _schema(input_schema),
            "outputFormat": output_format,
            "isActive": is_active,
        }
    )
    return Call("skills.update", id_of(skill), body, Skill._of)


def delete_skill(skill: UUID | str) -> Call[None]:
    return Call("skills.delete", id_of(skill), None, _nothing)


def execute_skill(skill: UUID | str, input: Mapping[str, Any] | None, key: str | None) -> Call[Accepted]:
    body = _body({"input": _input(input), "executionType": "api"})
    return Call("skills.execute", id_of(skill), body, Accepted._of, key)


def get_execution(execution: UUID | str) -> Call[Execution]:
    return Call("executions.get", id_of(execution), None, Execution._of)


def list_executions(
    *,
    after: str | None,
    skill: UUID | str | None,
    status: ExecutionStatus | str | None,
    execution_type: ExecutionType | str | None,
    start: datetime | date | None,
    end: datetime | date | None,
) -> Call[Rows[Execution]]:
    body = _body(
        {
            "skillId": UNSET if skill is None else id_of(skill),
            "status": _given(status),
            "executionType": _given(execution_type),
            "startDate": _moment(start),
            "endDate": _moment(end),
            "after": _given(after),
            "limit": PAGE_SIZE,
        }
    )
    return Call("executions.list", None, body, _rows(Execution._of))


def retry_execution(execution: UUID | str, key: str | None) -> Call[UUID]:
    return Call("executions.retry", id_of(execution), None, lambda answer: UUID(answer["newExecutionId"]), key)


def test_skill(skill: UUID | str, input: Mapping[str, Any] | None) -> Call[TestRun]:
    return Call("skills.test", id_of(skill), _body({"input": _input(input)}), TestRun._of)


def test_draft(
    *,
    prompt_template: str,
    system_prompt: str | None,
    model: str | None,
    parameters: Parameters | Mapping[str, Any] | None,
    input: Mapping[str, Any] | None,
) -> Call[TestRun]:
    body = _body(
        {
            "promptTemplate": prompt_template,
            "systemPrompt": _given(system_prompt),
            "model": _given(model),
            "parameters": _parameters(_given(parameters)),
            "input": _input(input),
        }
    )
    return Call("skills.test_draft", None, body, TestRun._of)


def get_test(test: str) -> Call[TestRun]:
    return Call("tests.get", test, None, TestRun._of)


def list_versions(skill: UUID | str, *, page: int) -> Call[Rows[SkillVersion]]:
    body = _body({"page": page, "pageSize": PAGE_SIZE})
    return Call("skills.versions", id_of(skill), body, _rows(SkillVersion._of))


def get_version(skill: UUID | str, number: int) -> Call[SkillVersion]:
    return Call("skills.version", id_of(skill), _body({"number": number}), SkillVersion._of)


def restore_version(skill: UUID | str, number: int) -> Call[Skill]:
    return Call("skills.restore", id_of(skill), _body({"number": number}), Skill._of)


def duplicate_skill(skill: UUID | str, new_name: str | None) -> Call[Skill]:
    return Call("skills.duplicate", id_of(skill), _body({"newName": _given(new_name)}), Skill._of)


def export_skill(skill: UUID | str) -> Call[dict[str, Any]]:
    return Call("skills.export", id_of(skill), None, dict)


def import_skill(exported: Mapping[str, Any]) -> Call[Skill]:
    return Call("skills.import", None, _body(exported), Skill._of)


def skill_stats(skill: UUID | str, period: StatsPeriod | str) -> Call[SkillStats]:
    return Call("skills.stats", id_of(skill), _body({"period": period}), SkillStats._of)


def cancel_execution(execution: UUID | str) -> Call[None]:
    return Call("executions.cancel", id_of(execution), None, _nothing)
