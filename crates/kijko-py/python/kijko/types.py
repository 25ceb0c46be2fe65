"""What Kijko answers with: frozen objects with attributes, and ``to_dict()`` for the contract's JSON."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, NoReturn, TypeVar
from uuid import UUID

__all__ = [
    "Accepted",
    "Execution",
    "ExecutionStatus",
    "ExecutionType",
    "InputField",
    "InputFieldType",
    "OutputFormat",
    "Parameters",
    "Skill",
    "SkillCategory",
    "SkillSort",
    "SkillStats",
    "SkillVersion",
    "StatsDay",
    "StatsPeriod",
    "TestRun",
]

_T = TypeVar("_T")


class SkillCategory(StrEnum):
    """What a skill is for."""

    ANALYSIS = "analysis"
    GENERATION = "generation"
    TRANSFORMATION = "transformation"
    COMMUNICATION = "communication"
    AUTOMATION = "automation"
    CUSTOM = "custom"


class OutputFormat(StrEnum):
    """A hint for whoever shows the output; nothing checks that the output is of this kind."""

    MARKDOWN = "markdown"
    JSON = "json"
    TEXT = "text"
    HTML = "html"
    CODE = "code"


class InputFieldType(StrEnum):
    """The JSON type of a template variable."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    ARRAY = "array"
    OBJECT = "object"


class SkillSort(StrEnum):
    """The order of a list of skills."""

    UPDATED = "updated"
    CREATED = "created"
    NAME = "name"
    MOST_USED = "most-used"
    POPULAR = "popular"


class StatsPeriod(StrEnum):
    """So many UTC days, today included."""

    WEEK = "7d"
    MONTH = "30d"
    QUARTER = "90d"


class ExecutionStatus(StrEnum):
    """``pending`` → ``running`` → ``completed``, ``failed`` or ``cancelled``; the last three never change."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self not in (ExecutionStatus.PENDING, ExecutionStatus.RUNNING)


class ExecutionType(StrEnum):
    """What started a run."""

    MANUAL = "manual"
    HABIT = "habit"
    REFLEX = "reflex"
    API = "api"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """Keeps the JSON that it was made of."""

    _json: Mapping[str, Any] = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of the contract, in camelCase, as over HTTP; a copy of your own."""
        return copy.deepcopy(dict(self._json))


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """How the model is sampled; what is None is left to the defaults when the skill runs.

    Attributes:
        temperature: 0 to 1; 1 when None.
        max_tokens: 1 to 8192; 4096 when None.
        top_p: Above 0, to 1.
        top_k: 1 to 500.
        stop_sequences: At most 5, each of 1 to 64 characters.
    """

    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.stop_sequences, str):
            raise TypeError("stop_sequences is a tuple of texts, not one text")
        if self.stop_sequences is not None:
            object.__setattr__(self, "stop_sequences", tuple(self.stop_sequences))

    def to_dict(self) -> dict[str, Any]:
        """The JSON of the contract; members that are None are left out."""
        members: dict[str, Any] = {
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "stop_sequences": None if self.stop_sequences is None else list(self.stop_sequences),
        }
        return {name: value for name, value in members.items() if value is not None}

    @classmethod
    def _of(cls, json: Mapping[str, Any]) -> Parameters:
        stops = json.get("stop_sequences")
        return cls(
            temperature=json.get("temperature"),
            max_tokens=json.get("max_tokens"),
            top_p=json.get("top_p"),
            top_k=json.get("top_k"),
            stop_sequences=None if stops is None else tuple(stops),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InputField:
    """One variable of a skill's template.

    Attributes:
        name: 1 to 100 characters without white space and braces; unique within the skill.
        type: Its JSON type.
        description: Help for whoever fills it in; at most 500 characters.
        required: Whether a run without it is refused.
        default: Used when it is left out; of the type that ``type`` names.
    """

    name: str
    type: InputFieldType
    description: str | None = None
    required: bool | None = None
    default: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "default", _frozen(self.default))

    def to_dict(self) -> dict[str, Any]:
        """The JSON of the contract; members that are None are left out."""
        members: dict[str, Any] = {
            "name": self.name,
            "type": str(self.type),
            "description": self.description,
            "required": self.required,
            "default": _thawed(self.default),
        }
        return {name: value for name, value in members.items() if value is not None}

    def __hash__(self) -> int:
        return hash((self.name, self.type))

    @classmethod
    def _of(cls, json: Mapping[str, Any]) -> InputField:
        return cls(
            name=json["name"],
            type=InputFieldType(json["type"]),
            description=json.get("description"),
            required=json.get("required"),
            default=json.get("default"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill(_Answer):
    """A reusable prompt with a model and an input schema.

    Attributes:
        id: Names it.
        user_id: Whose it is.
        name: 1 to 100 characters, unique per owner ignoring case.
        description: At most 500 characters.
        category: What it is for.
        prompt_template: 20 to 10 000 characters; variables are written ``{{name}}``.
        model: The product's name of the model, resolved when the skill runs.
        fallback_model: What stands in when the provider of the first is down.
        parameters: How the model is sampled.
        input_schema: The template's variables, in the order of display; None when never given.
        output_format: How to show the output.
        is_active: Whether it can be run.
        execution_count: Runs that reached ``completed``.
        star_count: People who starred it.
        version: The number of its present definition, from 1.
        last_executed_at: When the latest completed run ended, UTC.
        created_at: UTC.
        updated_at: UTC; changes with every edit and every completed run.
    """

    id: UUID
    user_id: UUID
    name: str
    description: str | None
    category: SkillCategory
    prompt_template: str
    model: str
    fallback_model: str | None
    parameters: Parameters
    input_schema: tuple[InputField, ...] | None
    output_format: OutputFormat
    is_active: bool
    execution_count: int
    star_count: int
    version: int
    last_executed_at: datetime | None
    created_at: datetime
    updated_at: datetime

    def __hash__(self) -> int:
        return hash((self.id, self.updated_at))

    @classmethod
    def _of(cls, json: Mapping[str, Any]) -> Skill:
        schema = json.get("inputSchema")
        return cls(
            _json=json,
            id=UUID(json["id"]),
            user_id=UUID(json["userId"]),
            name=json["name"],
            description=json.get("description"),
            category=SkillCategory(json["category"]),
            prompt_template=json["promptTemplate"],
            model=json["model"],
            fallback_model=json.get("fallbackModel"),
            parameters=Parameters._of(json["parameters"]),
            input_schema=None if schema is None else tuple(InputField._of(one) for one in schema),
            output_format=OutputFormat(json["outputFormat"]),
            is_active=json["isActive"],
            execution_count=json["executionCount"],
            star_count=json["starCount"],
            version=json["version"],
            last_executed_at=_optional(datetime.fromisoformat, json.get("lastExecutedAt")),
            created_at=datetime.fromisoformat(json["createdAt"]),
            updated_at=datetime.fromisoformat(json["updatedAt"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(_Answer):
    """A run that was asked for.

    Attributes:
        id: The execution to wait for.
        status: ``pending``.
    """

    id: UUID
    status: ExecutionStatus

    @classmethod
    def _of(cls, json: Mapping[str, Any]) -> Accepted:
        return cls(_json=json, id=UUID(json["executionId"]), status=ExecutionStatus(json["status"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution(_Answer):
    """One run of a skill.

    Attributes:
        id: Names it.
        skill_id: None after the skill was deleted.
        skill_version: The version of the skill that it ran; None until it starts.
        user_id: Whose it is.
        execution_type: What started it.
        reference_id: The habit or reflex that started it.
        input: What the caller supplied, before defaults are filled in.
        output: The answer; present when completed, may be empty.
        tokens_used: ``prompt_tokens`` + ``completion_tokens``.
        prompt_tokens: As the provider reported them.
        completion_tokens: As the provider reported them.
        duration_ms: Milliseconds from the start of the run to its end, without the time in the queue.
        cost_cents: US cents, rounded half up.
        status: Where it stands.
        error_message: Why it failed or was cancelled, for people.
        error_code: The same for programs, UPPER_SNAKE.
        executed_at: When it was asked for, UTC.
        completed_at: When it ended, UTC.
        skill: The skill that it ran; only in lists, and only while that exists.
    """

    id: UUID
    skill_id: UUID | None
    skill_version: int | None
    user_id: UUID
    execution_type: ExecutionType
    reference_id: UUID | None
    input: Mapping[str, Any]
    output: str | None
    tokens_used: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    duration_ms: int | None
    cost_cents: int | None
    status: ExecutionStatus
    error_message: str | None
    error_code: str | None
    executed_at: datetime
    completed_at: datetime | None
    skill: Skill | None = field(repr=False)

    def __hash__(self) -> int:
        return hash((self.id, self.status))

    @classmethod
    def _of(cls, json: Mapping[str, Any]) -> Execution:
        return cls(
            _json=json,
            id=UUID(json["id"]),
            skill_id=_optional(UUID, json.get("skillId")),
            skill_version=json.get("skillVersion"),
            user_id=UUID(json["userId"]),
            execution_type=ExecutionType(json["executionType"]),
            reference_id=_optional(UUID, json.get("referenceId")),
            input=_frozen(json["input"]),
            output=json.get("output"),
            tokens_used=json.get("tokensUsed"),
            prompt_tokens=json.get("promptTokens"),
            completion_tokens=json.get("completionTokens"),
            duration_ms=json.get("durationMs"),
            cost_cents=json.get("costCents"),
            status=ExecutionStatus(json["status"]),
            error_message=json.get("errorMessage"),
            error_code=json.get("errorCode"),
            executed_at=datetime.fromisoformat(json["executedAt"]),
            completed_at=_optional(datetime.fromisoformat, json.get("completedAt")),
            skill=_optional(Skill._of, json.get("skill")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillVersion(_Answer):
    """A definition that a skill had; it never changes.

    Attributes:
        number: From 1.
        author_id: Who made it.
        created_at: UTC.
        is_current: Whether runs that start now use it.
        prompt_template: None in a list.
        model: None in a list.
        parameters: None in a list.
        input_schema: None in a list, and when never given.
    """

    number: int
    author_id: UUID
    created_at: datetime
    is_current: bool
    prompt_template: str | None
    model: str | None
    parameters: Parameters | None
    input_schema: tuple[InputField, ...] | None

    def __hash__(self) -> int:
        return hash((self.number, self.created_at))

    @classmethod
    def _of(cls, json: Mapping[str, Any]) -> SkillVersion:
        schema = json.get("inputSchema")
        return cls(
            _json=json,
            number=json["number"],
            author_id=UUID(json["authorId"]),
            created_at=datetime.fromisoformat(json["createdAt"]),
            is_current=json["isCurrent"],
            prompt_template=json.get("promptTemplate"),
            model=json.get("model"),
            parameters=_optional(Parameters._of, json.get("parameters")),
            input_schema=None if schema is None else tuple(InputField._of(one) for one in schema),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRun(_Answer):
    """A skill that is tried without a trace in history; kept for an hour.

    Attributes:
        id: ``test-`` and a UUID.
        status: Where it stands.
        output: The answer; present when completed, may be empty.
        tokens_used: Of prompt and answer.
        duration_ms: Milliseconds from its start to its end.
        error_message: Why it failed, for people.
        error_code: The same for programs, UPPER_SNAKE.
    """

    __test__ = False  # For pytest, which takes it for a test.

    id: str
    status: ExecutionStatus
    output: str | None
    tokens_used: int | None
    duration_ms: int | None
    error_message: str | None
    error_code: str | None

    def __hash__(self) -> int:
        return hash((self.id, self.status))

    @classmethod
    def _of(cls, json: Mapping[str, Any]) -> TestRun:
        return cls(
            _json=json,
            id=json["executionId"],
            status=ExecutionStatus(json["status"]),
            output=json.get("output"),
            tokens_used=json.get("tokensUsed"),
            duration_ms=json.get("durationMs"),
            error_message=json.get("error"),
            error_code=json.get("errorCode"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsDay:
    """The runs of one UTC day: executions that completed or failed.

    Attributes:
        date: The day.
        count: Runs.
        success_count: Those that completed.
        failure_count: Those that failed.
        tokens: Of all of them.
        cost_cents: US cents, of all of them.
    """

    date: date
    count: int
    success_count: int
    failure_count: int
    tokens: int
    cost_cents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillStats(_Answer):
    """What the runs of a skill add up to over a period.

    Attributes:
        total_runs: Executions that completed or failed.
        success_rate: A whole percentage.
        avg_tokens: Rounded.
        avg_duration_ms: Of completed runs, rounded down.
        total_cost_cents: US cents.
        days: One for each day, ascending, today being the last.
        executions_by_type: Runs by what started them.
        executions_by_status: All executions by where they stand.
    """

    total_runs: int
    success_rate: int
    avg_tokens: int
    avg_duration_ms: int
    total_cost_cents: int
    days: tuple[StatsDay, ...]
    executions_by_type: Mapping[ExecutionType, int]
    executions_by_status: Mapping[ExecutionStatus, int]

    def __hash__(self) -> int:
        return hash((self.total_runs, self.days))

    @classmethod
    def _of(cls, json: Mapping[str, Any]) -> SkillStats:
        overview = json["overview"]
        return cls(
            _json=json,
            total_runs=overview["totalRuns"],
            success_rate=overview["successRate"],
            avg_tokens=overview["avgTokens"],
            avg_duration_ms=overview["avgDurationMs"],
            total_cost_cents=overview["totalCostCents"],
            days=tuple(
                StatsDay(
                    date=date.fromisoformat(day["date"]),
                    count=day["count"],
                    success_count=day["successCount"],
                    failure_count=day["failureCount"],
                    tokens=day["tokens"],
                    cost_cents=day["costCents"],
                )
                for day in json["executionsOverTime"]
            ),
            executions_by_type=_Frozen(
                {ExecutionType(name): count for name, count in json["executionsByType"].items()}
            ),
            executions_by_status=_Frozen(
                {ExecutionStatus(name): count for name, count in json["executionsByStatus"].items()}
            ),
        )


def _optional(make: Callable[[Any], _T], value: Any) -> _T | None:
    return None if value is None else make(value)


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise TypeError("this cannot be changed; make a dict of it first")


class _Frozen(dict[Any, Any]):
    """A dict that nobody can change by accident; it can be copied, pickled and written as JSON like any other."""

    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = __ior__ = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)


def _frozen(value: Any) -> Any:
    """JSON that nobody can change by accident."""
    if isinstance(value, dict):
        return _Frozen({key: _frozen(one) for key, one in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(one) for one in value)
    return value


def _thawed(value: Any) -> Any:
    """The same as plain JSON."""
    if isinstance(value, Mapping):
        return {str(key): _thawed(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_thawed(one) for one in value]
    return value
