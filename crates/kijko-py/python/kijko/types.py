"""What Kijko answers with: frozen objects with attributes, and ``to_dict()`` for the contract's JSON."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeVar
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
            default=_frozen(json.get("default")),
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
        parameters: How the model is sampled.
        input_schema: The template's variables, in the order of display; None when never given.
        output_format: How to show the output.
        is_active: Whether it can be run.
        execution_count: Runs that reached ``completed``.
        star_count: People who starred it.
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
    parameters: Parameters
    input_schema: tuple[InputField, ...] | None
    output_format: OutputFormat
    is_active: bool
    execution_count: int
    star_count: int
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
            parameters=Parameters._of(json["parameters"]),
            input_schema=None if schema is None else tuple(InputField._of(one) for one in schema),
            output_format=OutputFormat(json["outputFormat"]),
            is_active=json["isActive"],
            execution_count=json["executionCount"],
            star_count=json["starCount"],
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


def _optional(make: Callable[[Any], _T], value: Any) -> _T | None:
    return None if value is None else make(value)


def _frozen(value: Any) -> Any:
    """JSON that nobody can change by accident."""
    if isinstance(value, dict):
        return MappingProxyType({key: _frozen(one) for key, one in value.items()})
    if isinstance(value, list):
        return tuple(_frozen(one) for one in value)
    return value


def _thawed(value: Any) -> Any:
    """The same as plain JSON."""
    if isinstance(value, Mapping):
        return {str(key): _thawed(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_thawed(one) for one in value]
    return value
