"""Models that a program serves: a callable of yours answers runs of skills that name its model."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from kijko._kijko import Answer

__all__ = ["ModelFailure", "Part", "Provider", "Question", "Usage"]

log = logging.getLogger("kijko.models")

#: Seconds between two looks at whether anybody still wants an answer that is awaited.
_LOOK_INTERVAL = 0.1
#: Seconds between two looks at whether a run that is busy takes the next piece.
_ROOM_INTERVAL = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a model is asked.

    Attributes:
        model: The name that the model was registered under.
        prompt: The skill's template, filled in.
        system: What the model is told beside the prompt; only in tests of skills.
        max_tokens: The longest answer that is wanted.
        temperature: 0 to 1; None leaves it to the model.
        top_p: Above 0, to 1.
        top_k: 1 to 500.
        stop_sequences: Where the answer should end.
    """

    model: str
    prompt: str
    system: str | None
    max_tokens: int
    temperature: float | None
    top_p: float | None
    top_k: int | None
    stop_sequences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of the answer so far; yield it at any time, the last one counts.

    Without any, both are estimated with the vocabulary of `o200k_base`.
    """

    prompt_tokens: int
    completion_tokens: int


class ModelFailure(Exception):
    """Raise it in a provider to say what the owner of the run is to read.

    Any other exception is logged in full, and the owner reads no more than its class.
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


Part = str | Usage
Provider = Callable[[Question], str | Iterable[Part] | Awaitable[str] | AsyncIterable[Part]]
ProviderT = TypeVar("ProviderT", bound=Provider)


class _Gone(Exception):
    """Nobody wants the answer any more."""


def starter(
    provider: Provider, loop: asyncio.AbstractEventLoop | None, withdraw: Callable[[], None]
) -> Callable[[bytes, Answer], None]:
    """What the core calls, on a thread of its own, for each attempt.

    What is awaited runs in ``loop``, or in ours; once that is closed, the model is withdrawn.
    """

    def start(question: bytes, answer: Answer) -> None:
        # On a thread that may still run when the interpreter ends, which one of Rust must not.
        threading.Thread(target=run, args=(question, answer), name="kijko-model", daemon=True).start()

    def run(question: bytes, answer: Answer) -> None:
        members = json.loads(question)
        members["stop_sequences"] = tuple(members["stop_sequences"])
        try:
            if loop is not None and loop.is_closed():
                withdraw()
                raise ModelFailure("The model's program has ended")
            result: Any = provider(Question(**members))
            if inspect.isawaitable(result) or isinstance(result, AsyncIterable):
                (loop or _own_loop()).call_soon_threadsafe(_watch, result, answer)
                return
            parts = [result] if isinstance(result, str) else _parts(result)
            try:
                for part in parts:
                    _give(part, answer)
            finally:
                # So that what a generator holds is let go now, and not when it is collected.
                if isinstance(parts, Generator):
                    parts.close()
            answer.end()
        except _Gone:
            pass
        except BaseException as problem:  # noqa: BLE001 - whatever it is, the run must end.
            _fail(problem, answer)

    return start


def _parts(result: Any) -> Iterable[Any]:
    if not isinstance(result, Iterable):
        raise _wrong(result)
    return result


def _wrong(part: object) -> ModelFailure:
    return ModelFailure(f"The model's program answered with {type(part).__name__} where text was expected")


def _give(part: object, answer: Answer) -> None:
    if isinstance(part, str):
        wanted = answer.text(part)
    elif isinstance(part, Usage):
        wanted = answer.usage(part.prompt_tokens, part.completion_tokens)
    else:
        raise _wrong(part)
    if not wanted:
        raise _Gone


def _fail(problem: BaseException, answer: Answer) -> None:
    message, retryable = f"The model's program failed with {type(problem).__name__}", False
    if isinstance(problem, ModelFailure):
        try:
            message, retryable = str(problem), bool(problem.retryable)
        except Exception:  # Of what it was made of.
            log.exception("a model provider cannot say why it failed")
    else:
        log.error("a model provider failed", exc_info=problem)
    answer.fail(message.encode("utf-8", "replace").decode(), retryable)


async def _drain(result: Any, answer: Answer) -> None:
    try:
        await _answered(result, answer)
    except (_Gone, asyncio.CancelledError):
        pass
    except BaseException as problem:  # noqa: BLE001 - some would end the loop, and every other model with it.
        await _room(answer)
        _fail(problem, answer)


async def _answered(result: Any, answer: Answer) -> None:
    if isinstance(result, AsyncIterable):
        try:
            async for part in result:
                await _room(answer)
                _give(part, answer)
        finally:
            if isinstance(result, AsyncGenerator):
                await result.aclose()
    else:
        text = await result
        if not isinstance(text, str):
            raise _wrong(text)
        _give(text, answer)
    await _room(answer)
    answer.end()


async def _room(answer: Answer) -> None:
    """So that a run which is busy does not hold up the loop."""
    while not answer.has_room:
        await asyncio.sleep(_ROOM_INTERVAL)


def _watch(result: Any, answer: Answer) -> None:
    """Runs in the loop: makes the answer a task, and ends it when nobody wants it any more."""
    task = asyncio.ensure_future(_drain(result, answer))

    async def watch() -> None:
        while not task.done() and not answer.is_unwanted:
            await asyncio.wait({task}, timeout=_LOOK_INTERVAL)
        # Once: what it does about that may take its time.
        task.cancel()
        await asyncio.wait({task})

    watching = asyncio.ensure_future(watch())
    _watching.add(watching)
    watching.add_done_callback(_watching.discard)


#: A loop keeps no hold of its tasks.
_watching: set[asyncio.Future[None]] = set()
_started: asyncio.AbstractEventLoop | None = None
_lock = threading.Lock()


def _own_loop() -> asyncio.AbstractEventLoop:
    """On a thread of its own."""
    global _started
    with _lock:
        if _started is None or _started.is_closed():
            _started = asyncio.new_event_loop()
            threading.Thread(target=_started.run_forever, name="kijko-models", daemon=True).start()
        return _started


def _forget_loop() -> None:
    """Its thread stayed with the parent of a fork."""
    global _started, _lock
    _started, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_loop)
