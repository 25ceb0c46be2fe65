"""The compiled half: carries calls in and answers out. Not for direct use."""

from collections.abc import Awaitable, Callable
from typing import final

__all__ = ["Answer", "Engine", "Stream", "Tenant", "__version__"]

__version__: str

@final
class Engine:
    @staticmethod
    def open(settings: list[tuple[str, str]]) -> Engine: ...
    @staticmethod
    def open_async(settings: list[tuple[str, str]]) -> Awaitable[Engine]: ...
    def start_worker(self) -> None: ...
    def offer_model(
        self,
        name: str,
        input_cost_per_million: str,
        output_cost_per_million: str,
        max_output_tokens: int,
        start: Callable[[bytes, Answer], None],
    ) -> None: ...
    def close(self) -> None: ...
    def close_async(self) -> Awaitable[None]: ...
    def organization(
        self,
        *,
        name: str | None = None,
        id: str | None = None,
        token: str | None = None,
        operator: str | None = None,
        reason: str | None = None,
    ) -> Tenant: ...
    def organization_async(
        self,
        *,
        name: str | None = None,
        id: str | None = None,
        token: str | None = None,
        operator: str | None = None,
        reason: str | None = None,
    ) -> Awaitable[Tenant]: ...

@final
class Tenant:
    id: str
    name: str
    def call(
        self, call: str, target: str | None = None, body: bytes | None = None, key: str | None = None
    ) -> bytes: ...
    def call_async(
        self, call: str, target: str | None = None, body: bytes | None = None, key: str | None = None
    ) -> Awaitable[bytes]: ...
    def follow(self, execution: str) -> Stream: ...
    def follow_async(self, execution: str) -> Awaitable[Stream]: ...
    def wait(self, execution: str, seconds: float | None = None) -> bytes | None: ...
    def wait_async(self, execution: str, seconds: float | None = None) -> Awaitable[bytes | None]: ...

@final
class Stream:
    def next(self) -> str | None: ...
    def next_async(self) -> Awaitable[str | None]: ...

@final
class Answer:
    @property
    def is_unwanted(self) -> bool: ...
    @property
    def has_room(self) -> bool: ...
    def text(self, piece: str) -> bool: ...
    def usage(self, prompt_tokens: int, completion_tokens: int) -> bool: ...
    def end(self) -> None: ...
    def fail(self, message: str, retryable: bool) -> None: ...
