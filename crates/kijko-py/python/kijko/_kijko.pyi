"""The compiled half: carries calls in and answers out. Not for direct use."""

from collections.abc import Awaitable
from typing import final

__all__ = ["Engine", "Stream", "Tenant", "__version__"]

__version__: str

@final
class Engine:
    @staticmethod
    def open(settings: list[tuple[str, str]]) -> Engine: ...
    @staticmethod
    def open_async(settings: list[tuple[str, str]]) -> Awaitable[Engine]: ...
    def start_worker(self) -> None: ...
    def stop_worker(self) -> None: ...
    def stop_worker_async(self) -> Awaitable[None]: ...
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
