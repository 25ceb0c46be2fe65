"""Models that Python serves: whatever a provider does, the run ends with its code and the worker lives on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from typing import Any

import kijko
import pytest
from conftest import make_data_dir
from kijko.models import Part


@pytest.fixture(scope="module")
def own_client() -> Iterator[kijko.Client]:
    """Nothing waits long, so that hanging is noticed soon."""
    settings: dict[str, Any] = {
        "execution_hard_limit_secs": 4,
        "execution_soft_limit_secs": 2,
        "model_inactivity_timeout_secs": 1,
        "model_backoff_ms": 10,
    }
    with kijko.embedded(make_data_dir(), **settings) as client:
        yield client


Run = Callable[..., kijko.Execution]


@pytest.fixture
def run(own_client: kijko.Client) -> Run:
    """Runs a skill of this model to its end."""
    org = own_client.organization("Models", operator="tests", reason="a test")

    def run(model: str, text: str = "hello", **more: Any) -> kijko.Execution:
        skill = org.skills.create(name=f"With {model}", prompt_template="Please answer this: {{text}}", model=model, **more)
        try:
            return org.executions.wait(org.skills.execute(skill.id, {"text": text}).id, timeout=30)
        finally:
            org.skills.delete(skill.id)

    return run


def test_a_callable_answers_and_costs_what_it_says(own_client: kijko.Client, run: Run) -> None:
    asked: list[kijko.Question] = []

    @own_client.model_provider("plain", input_cost_per_million=Decimal(1_000_000), output_cost_per_million=Decimal(0))
    def plain(question: kijko.Question) -> str:
        asked.append(question)
        return question.prompt.upper()

    done = run("plain", parameters=kijko.Parameters(temperature=0.25, max_tokens=50, stop_sequences=("END",)))
    assert (done.status, done.output) == ("completed", "PLEASE ANSWER THIS: HELLO")
    assert done.prompt_tokens is not None and done.prompt_tokens > 0, "tokens that were not told are estimated"
    assert done.cost_cents == done.prompt_tokens * 100, "one dollar a token, half of them for free"
    assert asked == [
        kijko.Question(
            model="plain",
            prompt="Please answer this: hello",
            system=None,
            max_tokens=50,
            temperature=0.25,
            top_p=None,
            top_k=None,
            stop_sequences=("END",),
        )
    ]


def test_every_kind_of_callable_may_answer(own_client: kijko.Client, run: Run) -> None:
    @own_client.model_provider("generator")
    def generator(question: kijko.Question) -> Iterator[Part]:
        yield "a"
        yield kijko.Usage(3, 1)
        yield "b"
        yield kijko.Usage(3, 2)

    @own_client.model_provider("coroutine")
    async def coroutine(question: kijko.Question) -> str:
        await asyncio.sleep(0.01)
        return "ab"

    @own_client.model_provider("async-generator")
    async def async_generator(question: kijko.Question) -> AsyncIterator[Part]:
        for piece in "ab":
            await asyncio.sleep(0.01)
            yield piece

    done = run("generator")
    assert (done.output, done.prompt_tokens, done.completion_tokens) == ("ab", 3, 2), "the last figures count"
    assert [run(model).output for model in ("coroutine", "async-generator")] == ["ab", "ab"]
    assert run("generator").status == "completed", "the worker lives on"


def test_an_asynchronous_client_awaits_its_models_in_its_own_loop(own_client: kijko.Client) -> None:
    async def use() -> None:
        client = own_client.aio
        org = await client.organization("Models", operator="tests", reason="a test")
        gate = asyncio.Event()
        loops = []

        @client.model_provider("at-home")
        async def at_home(question: kijko.Question) -> AsyncIterator[Part]:
            loops.append(asyncio.get_running_loop())
            await gate.wait()
            for number in range(1000):
                yield f"{number} "

        skill = await org.skills.create(name="Home", prompt_template="Where are you, {{text}}", model="at-home")
        run = await org.skills.execute(skill.id, {"text": "x"})
        asyncio.get_running_loop().call_later(0.2, gate.set)
        done = await org.executions.wait(run.id, timeout=30)
        assert done.output == "".join(f"{number} " for number in range(1000))
        assert loops == [asyncio.get_running_loop()], "what a loop made is used in that loop"

    asyncio.run(use())
    org = own_client.organization("Models", operator="tests", reason="a test")
    skill = next(one for one in org.skills.list() if one.name == "Home")
    gone = org.executions.wait(org.skills.execute(skill.id, {"text": "x"}).id, timeout=30)
    assert gone.error_message == "The model's program has ended", "the loop is closed"


def test_a_client_that_was_closed_says_nothing_more_of_its_models(caplog: pytest.LogCaptureFixture) -> None:
    with kijko.embedded(make_data_dir()) as client:
        client.model_provider("gone")(lambda question: "x")
        org = client.organization("Models", operator="tests", reason="a test")
    time.sleep(1.5)
    with pytest.raises(kijko.KijkoError):
        next(org.skills.list())
    assert [record.getMessage() for record in caplog.records if "served here" in record.getMessage()] == []


def test_what_a_provider_raises_ends_the_run_and_says_no_more_than_it_should(
    own_client: kijko.Client, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    @own_client.model_provider("raising")
    def raising(question: kijko.Question) -> str:
        raise ValueError("the password is hunter2")

    @own_client.model_provider("raising-late")
    async def raising_late(question: kijko.Question) -> AsyncIterator[Part]:
        yield "half an ans"
        raise ValueError("the password is hunter2")

    @own_client.model_provider("telling")
    def telling(question: kijko.Question) -> str:
        raise kijko.ModelFailure("This model is resting today")

    for model in ("raising", "raising-late"):
        done = run(model)
        assert (done.status, done.error_code) == ("failed", "API_ERROR")
        assert done.error_message == "The model's program failed with ValueError"
    assert "hunter2" in caplog.text, "whoever runs the program reads the whole of it in the log"
    assert run("telling").error_message == "This model is resting today"


def test_a_provider_that_wants_to_exit_ends_its_run_and_nothing_else(own_client: kijko.Client, run: Run) -> None:
    @own_client.model_provider("exiting")
    async def exiting(question: kijko.Question) -> str:
        raise SystemExit("no configuration")

    @own_client.model_provider("calm")
    async def calm(question: kijko.Question) -> str:
        return "hello"

    assert run("exiting").error_message == "The model's program failed with SystemExit"
    assert run("calm").output == "hello"


def test_a_reason_that_nobody_could_read_is_made_readable(own_client: kijko.Client, run: Run) -> None:
    class Unspeakable(kijko.ModelFailure):
        def __str__(self) -> str:
            raise ValueError("no words")

    failures = {"half": kijko.ModelFailure("bad: \ud800"), "wordless": Unspeakable("x")}

    async def raising(question: kijko.Question) -> str:
        raise failures[question.model]

    for model, told in (("half", "bad: ?"), ("wordless", "The model's program failed with Unspeakable")):
        own_client.model_provider(model)(raising)
        assert run(model).error_message == told


def test_more_tokens_than_there_can_be_do_not_lose_the_run(own_client: kijko.Client, run: Run) -> None:
    @own_client.model_provider("boasting", input_cost_per_million=Decimal(1_000_000))
    def boasting(question: kijko.Question) -> Iterator[Part]:
        yield "x"
        yield kijko.Usage(2**63, 2**63)

    done = run("boasting")
    assert (done.status, done.prompt_tokens, done.cost_cents) == ("completed", 10**9, 99_999_900)


def test_a_failure_that_may_pass_is_tried_again(own_client: kijko.Client, run: Run) -> None:
    attempts = 0

    @own_client.model_provider("flaky")
    def flaky(question: kijko.Question) -> str:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise kijko.ModelFailure("Not yet", retryable=True)
        return "now"

    assert (run("flaky").output, attempts) == ("now", 3)


@pytest.mark.parametrize("wrong", [5, None, b"bytes", [1, 2], object()])
def test_an_answer_of_a_wrong_type_is_no_answer(own_client: kijko.Client, run: Run, wrong: Any) -> None:
    own_client.model_provider("wrong")(lambda question: wrong)
    done = run("wrong")
    assert (done.status, done.error_code) == ("failed", "API_ERROR")
    assert "where text was expected" in (done.error_message or "")


def test_a_provider_that_hangs_is_given_up(own_client: kijko.Client, run: Run) -> None:
    release = threading.Event()
    cancelled = threading.Event()

    @own_client.model_provider("hanging")
    def hanging(question: kijko.Question) -> str:
        release.wait()
        return "too late"

    @own_client.model_provider("hanging-async")
    async def hanging_async(question: kijko.Question) -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "too late"

    assert run("hanging").error_code == "PROVIDER_UNREACHABLE"
    assert run("hanging-async").error_code == "PROVIDER_UNREACHABLE"
    assert cancelled.wait(5), "the task was cancelled"
    release.set()


def test_a_provider_that_never_stops_is_stopped(own_client: kijko.Client, run: Run) -> None:
    stopped = threading.Event()

    @own_client.model_provider("endless")
    def endless(question: kijko.Question) -> Iterator[Part]:
        try:
            while True:
                time.sleep(0.05)
                yield "and "
        finally:
            stopped.set()

    assert run("endless").error_code == "EXECUTION_TIMEOUT"
    assert stopped.wait(5), "the generator was closed"


def test_cancelling_a_run_ends_the_provider(own_client: kijko.Client) -> None:
    org = own_client.organization("Models", operator="tests", reason="a test")
    begun, ended = threading.Event(), threading.Event()

    @own_client.model_provider("slow")
    async def slow(question: kijko.Question) -> AsyncIterator[Part]:
        begun.set()
        try:
            while True:
                await asyncio.sleep(0.05)
                yield "slowly "
        finally:
            ended.set()

    skill = org.skills.create(name="Slow", prompt_template="Take your time: {{text}}", model="slow")
    run = org.skills.execute(skill.id, {"text": "x"})
    assert begun.wait(10)
    org.executions.cancel(run.id)
    assert ended.wait(10), "nobody wanted the rest"
    assert org.executions.get(run.id).status == "cancelled"


def test_what_a_cancelled_provider_tidies_up_may_take_its_time(own_client: kijko.Client) -> None:
    org = own_client.organization("Models", operator="tests", reason="a test")
    begun, tidied = threading.Event(), threading.Event()

    @own_client.model_provider("tidy")
    async def tidy(question: kijko.Question) -> str:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.5)
            tidied.set()
        return "never"

    skill = org.skills.create(name="Tidy", prompt_template="Clean up behind you, {{text}}", model="tidy")
    run = org.skills.execute(skill.id, {"text": "x"})
    assert begun.wait(10)
    org.executions.cancel(run.id)
    assert tidied.wait(10), "it is cancelled once"


def test_a_model_that_was_not_registered_is_refused(own_client: kijko.Client, run: Run) -> None:
    with pytest.raises(kijko.InvalidInput) as refused:
        run("nobody-has-this")
    assert refused.value.code == "MODEL_NOT_SUPPORTED"


@pytest.mark.parametrize(
    "bad",
    [
        {"name": ""},
        {"name": "claude-3-5-haiku-20241022"},
        {"name": "x", "max_output_tokens": 0},
        {"name": "x", "input_cost_per_million": Decimal(-1)},
    ],
)
def test_a_model_is_registered_properly_or_not_at_all(own_client: kijko.Client, bad: dict[str, Any]) -> None:
    with pytest.raises(kijko.InvalidInput):
        own_client.model_provider(**bad)(lambda question: "x")
