"""Nothing crosses from one organisation to another, whoever asks and however many at once."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import kijko
import pytest
from conftest import Enter


def test_an_id_of_one_organisation_is_not_found_in_another(enter: Enter) -> None:
    ours, theirs = enter(), enter()
    skill = ours.skills.create(name="Secret", prompt_template="Our secret recipe: {{text}}")
    run = ours.skills.execute(skill.id, {"text": "x"})
    for attempt in (
        lambda: theirs.skills.get(skill.id),
        lambda: theirs.skills.update(skill.id, name="Stolen"),
        lambda: theirs.skills.delete(skill.id),
        lambda: theirs.skills.execute(skill.id, {"text": "x"}),
        lambda: theirs.executions.get(run.id),
        lambda: theirs.executions.cancel(run.id),
        lambda: theirs.executions.wait(run.id, timeout=5),
        lambda: list(theirs.executions.stream(run.id)),
    ):
        with pytest.raises(kijko.NotFound):
            attempt()
    assert list(theirs.skills.list()) == [] and list(theirs.executions.list()) == []
    assert ours.executions.wait(run.id, timeout=30).status == "completed"


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
