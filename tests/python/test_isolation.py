"""Nothing crosses from one organisation to another, whoever asks and however many at once."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import kijko
import pytest
from conftest import Enter
from kijko.executions import Executions
from kijko.skills import Skills


#: Every call that takes an id, with one of somebody else.
WITH_A_SKILL: dict[str, Callable[[kijko.Organization, UUID], object]] = {
    "get": lambda org, id: org.skills.get(id),
    "update": lambda org, id: org.skills.update(id, name="Stolen"),
    "delete": lambda org, id: org.skills.delete(id),
    "execute": lambda org, id: org.skills.execute(id, {"text": "x"}),
    "test": lambda org, id: org.skills.test(id, {"text": "x"}),
    "versions": lambda org, id: list(org.skills.versions(id)),
    "version": lambda org, id: org.skills.version(id, 1),
    "restore": lambda org, id: org.skills.restore(id, 1),
    "duplicate": lambda org, id: org.skills.duplicate(id),
    "export": lambda org, id: org.skills.export(id),
    "stats": lambda org, id: org.skills.stats(id),
}
WITH_AN_EXECUTION: dict[str, Callable[[kijko.Organization, UUID], object]] = {
    "get": lambda org, id: org.executions.get(id),
    "cancel": lambda org, id: org.executions.cancel(id),
    "retry": lambda org, id: org.executions.retry(id),
    "wait": lambda org, id: org.executions.wait(id, timeout=5),
    "stream": lambda org, id: list(org.executions.stream(id)),
}


@pytest.mark.parametrize(
    ("calls", "kind", "first"), [(WITH_A_SKILL, Skills, "skill"), (WITH_AN_EXECUTION, Executions, "execution")]
)
def test_no_call_that_takes_an_id_is_forgotten_here(calls: dict[str, object], kind: type, first: str) -> None:
    public = {name: call for name, call in vars(kind).items() if not name.startswith("_")}
    taking = {name for name, call in public.items() if first in list(inspect.signature(call).parameters)[1:2]}
    assert taking == set(calls), "a new call that takes an id belongs into the table above"


def test_an_id_of_one_organisation_is_not_found_in_another(enter: Enter) -> None:
    ours, theirs = enter(), enter()
    skill = ours.skills.create(name="Secret", prompt_template="Our secret recipe: {{text}}")
    run = ours.skills.execute(skill.id, {"text": "x"})
    for calls, id in ((WITH_A_SKILL, skill.id), (WITH_AN_EXECUTION, run.id)):
        for name, call in calls.items():
            with pytest.raises(kijko.NotFound):
                call(theirs, id)
                pytest.fail(f"{name} reached what belongs to another organisation")
    assert list(theirs.skills.list()) == [] and list(theirs.executions.list(skill=skill.id)) == []
    assert ours.executions.wait(run.id, timeout=30).status == "completed"
    assert ours.skills.get(skill.id).name == "Secret"


def test_threads_and_tasks_of_two_organisations_see_their_own(enter: Enter) -> None:
    organizations = [enter(), enter()]
    skills = [org.skills.create(name="Mine", prompt_template=f"I belong to {org.id}") for org in organizations]

    def look(number: int) -> None:
        mine, other = number % 2, (number + 1) % 2
        assert organizations[mine].skills.get(skills[mine].id).prompt_template.endswith(str(organizations[mine].id))
        with pytest.raises(kijko.NotFound):
            organizations[mine].skills.get(skills[other].id)

    async def look_async(number: int) -> None:
        mine, other = number % 2, (number + 1) % 2
        assert (await organizations[mine].aio.skills.get(skills[mine].id)).id == skills[mine].id
        with pytest.raises(kijko.NotFound):
            await organizations[mine].aio.skills.get(skills[other].id)

    async def all_tasks() -> None:
        await asyncio.gather(*(look_async(number) for number in range(200)))

    with ThreadPoolExecutor(16) as threads:
        tasks = threads.submit(lambda: asyncio.run(all_tasks()))
        list(threads.map(look, range(200)))
        tasks.result(timeout=60)


def test_64_threads_and_1000_tasks_do_not_block_each_other_or_python(org: kijko.Organization) -> None:
    skill = org.skills.create(name="Busy", prompt_template="Everybody asks for {{me}}")
    counted = 0
    done = threading.Event()

    def count() -> None:
        nonlocal counted
        while not done.is_set():
            counted += 1
            time.sleep(0.001)

    async def ask() -> None:
        found = await asyncio.gather(*(org.aio.skills.get(skill.id) for _ in range(1000)))
        assert all(one.id == skill.id for one in found)

    counter = threading.Thread(target=count)
    counter.start()
    started = time.monotonic()
    with ThreadPoolExecutor(64) as threads:
        asking = [threads.submit(org.skills.get, skill.id) for _ in range(640)]
        asyncio.run(ask())
        assert all(one.result(timeout=60).id == skill.id for one in asking)
    took = time.monotonic() - started
    done.set()
    counter.join()
    # A thread that could not run meanwhile would have counted next to nothing.
    assert counted > took * 100, f"a thread of plain Python counted to {counted} in {took:.1f} s: who held the lock?"
