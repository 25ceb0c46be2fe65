"""What can go wrong. The class says what a caller can do about it, ``code`` says what happened."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

__all__ = [
    "ClientUnusable",
    "ConfigurationError",
    "Conflict",
    "Forbidden",
    "InternalError",
    "InvalidInput",
    "KijkoError",
    "LimitReached",
    "NotFound",
    "RateLimited",
    "StartError",
    "Unauthenticated",
    "Unavailable",
    "UpstreamError",
]


class KijkoError(Exception):
    """The base of every error that Kijko raises.

    Attributes:
        code: What happened, UPPER_SNAKE, the same as over HTTP, for programs.
        field: The first offending member of the input, such as ``inputSchema[2].name``; None when there is none.
        details: More about it. For invalid input: ``errors``, one entry of field, message and code per member.
        retryable: Whether the same call may succeed later without being changed.
    """

    code: Final[str]
    field: Final[str | None]
    details: Final[Mapping[str, Any]]
    retryable: Final[bool]

    def __init__(
        self,
        message: str,
        *,
        code: str,
        field: str | None = None,
        details: Mapping[str, Any] | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.details = MappingProxyType(dict(details or {}))
        self.retryable = retryable

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), str(self), self.code, self.field, dict(self.details), self.retryable)


def _again(
    kind: type[KijkoError],
    message: str,
    code: str,
    field: str | None,
    details: dict[str, Any],
    retryable: bool,
) -> KijkoError:
    """An error as it was before it was pickled."""
    return kind(message, code=code, field=field, details=details, retryable=retryable)


class InvalidInput(KijkoError):
    """The input breaks a rule; ``details["errors"]`` lists every offending member."""


class Unauthenticated(KijkoError):
    """The token or API key is no good; ``details["reason"]`` says why."""


class Forbidden(KijkoError):
    """The caller is known, but may not do this."""


class NotFound(KijkoError):
    """There is no such thing, or it belongs to somebody else."""


class Conflict(KijkoError):
    """It does not fit the present state, such as a name that is taken."""


class LimitReached(KijkoError):
    """A limit of the plan or the installation; ``details`` has ``limit`` and ``used``."""


class RateLimited(KijkoError):
    """Too many calls; ``details["retryAfter"]`` says in how many seconds to try again."""


class UpstreamError(KijkoError):
    """Somebody else's service failed."""


class Unavailable(KijkoError):
    """Something that Kijko needs is away or not set up."""


class InternalError(KijkoError):
    """A mistake of ours. The log has the particulars."""


class ConfigurationError(KijkoError):
    """Settings are no good; ``details["problems"]`` lists every one of them."""


class StartError(KijkoError):
    """Kijko cannot start; the message says what to do."""


class ClientUnusable(KijkoError):
    """The client is not open, was closed, or belongs to another process."""
