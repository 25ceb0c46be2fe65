"""Opening and closing, who may enter, and what becomes of a process that ends badly."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import kijko
import pytest
from conftest import Enter, make_data_dir


def run(code: str, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Another Python."""
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def servers(data_dir: Path) -> list[str]:
    """The PostgreSQL processes of this data directory."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if "postgres" in line and str(data_dir) in line]


def test_operators_enter_by_name_or_id_and_leave_their_reason_behind(client: kijko.Client, data_dir: Path) -> None:
    name = f"Oracle {uuid.uuid4()}"
    first = client.organization(name, operator="oracle-cortex", reason="nightly review")
    again = client.organization(name, operator="oracle-cortex", reason="nightly review")
    assert first.id == again.id, "the same name is the same organisation"
    assert client.organization(name, operator="another", reason="curiosity").id != first.id
    by_id = client.organization(id=first.id, operator="another", reason="support")
    assert (by_id.id, by_id.name) == (first.id, name)
    with pytest.raises(kijko.NotFound):
        client.organization(id=uuid.uuid4(), operator="another", reason="support")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, "operator"),
        ({"name": "Oracle", "token": "x", "operator": "y", "reason": "z"}, "operator"),
        ({"name": "Oracle", "token": "x"}, "name"),
        ({"operator": "y", "reason": "z"}, "name"),
        ({"name": "Oracle", "operator": "y"}, "reason"),
        ({"name": "Oracle", "operator": "no spaces", "reason": "z"}, "operator"),
        ({"name": " ", "operator": "y", "reason": "z"}, "name"),
    ],
)
def test_who_enters_must_say_who_and_why(client: kijko.Client, arguments: dict[str, str], field: str) -> None:
    with pytest.raises(kijko.InvalidInput) as refused:
        client.organization(**arguments)
    assert refused.value.field == field


@pytest.mark.parametrize("credential", ["token", "api_key"])
def test_a_credential_that_is_no_good_is_refused(client: kijko.Client, credential: str) -> None:
    with pytest.raises(kijko.Unauthenticated):
        client.organization(**{credential: "kijko_test_" + "0" * 48})


def test_a_client_is_used_while_it_is_open(data_dir: Path) -> None:
    client = kijko.embedded(data_dir)
    with pytest.raises(kijko.ClientUnusable):
        client.organization("Oracle", operator="tests", reason="too early")
    with client:
        client.organization("Oracle", operator="tests", reason="in time")
    with pytest.raises(kijko.ClientUnusable):
        client.organization("Oracle", operator="tests", reason="too late")
    client.close()


def test_settings_that_are_no_good_are_all_named() -> None:
    with pytest.raises(kijko.ConfigurationError) as refused, kijko.embedded(port="many", job_concurrency=0):
        pass
    assert len(refused.value.details["problems"]) == 2, refused.value


def test_a_database_that_is_not_there_says_so() -> None:
    with pytest.raises(kijko.StartError), kijko.connect("postgresql://nobody@127.0.0.1:1/nothing"):
        pass


def test_a_client_that_was_forked_is_refused_in_the_child(org: kijko.Organization) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            org.skills.list().__next__()
            told = "no error"
        except kijko.ClientUnusable as refused:
            told = refused.code
        except BaseException as other:  # noqa: BLE001
            told = repr(other)
        os.write(writing, told.encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 1000).decode() == "FORKED"
    assert list(org.skills.list()) == [], "the parent goes on"


@pytest.fixture
def own_data_dir() -> Iterator[Path]:
    yield make_data_dir()


def test_what_happens_inside_is_logged_and_not_told(org: kijko.Organization, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(kijko.InternalError) as failed:
        org._tenant.call("no.such.call")
    assert "no.such.call" not in str(failed.value)
    logged = [record for record in caplog.records if "no.such.call" in record.getMessage()]
    assert [(record.levelname, record.name) for record in logged] == [("ERROR", "_kijko.errors")]


def test_a_setting_that_does_not_exist_is_refused(own_data_dir: Path) -> None:
    with pytest.raises(kijko.ConfigurationError) as refused, kijko.embedded(own_data_dir, databse_url="x"):
        pass
    assert refused.value.details["problems"] == ["DATABSE_URL: a flag sets it, but there is no such setting"]


def test_ctrl_c_ends_a_wait(own_data_dir: Path) -> None:
    code = """
        import kijko, os, signal, sys, threading, time, uuid
        with kijko.embedded(sys.argv[1], worker=False) as client:
            org = client.organization("Oracle", operator="tests", reason="a test")
            skill = org.skills.create(name="Never", prompt_template="This one waits for {{nobody}}")
            run = org.skills.execute(skill.id)
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
            started = time.monotonic()
            try:
                org.executions.wait(run.id)
            except KeyboardInterrupt:
                print("interrupted", time.monotonic() - started < 5)
    """
    done = run(code, str(own_data_dir))
    assert done.stdout.split() == ["interrupted", "True"], done.stderr


def test_a_killed_process_leaves_no_postgres_and_no_damage(own_data_dir: Path) -> None:
    code = """
        import kijko, sys, time
        client = kijko.embedded(sys.argv[1]).__enter__()
        org = client.organization("Oracle", operator="tests", reason="a test")
        org.skills.create(name="Kept", prompt_template="What was committed stays: {{text}}")
        print("ready", flush=True)
        time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(own_data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        assert servers(own_data_dir), "its PostgreSQL runs"
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while servers(own_data_dir):
        assert time.monotonic() < deadline, f"still running: {servers(own_data_dir)}"
        time.sleep(0.1)
    with kijko.embedded(own_data_dir) as client:
        org = client.organization("Oracle", operator="tests", reason="a test")
        assert [one.name for one in org.skills.list()] == ["Kept"]


def test_a_worker_of_its_own_runs_what_others_ask_for(own_data_dir: Path) -> None:
    with kijko.embedded(own_data_dir, worker=False) as client:
        org = client.organization("Oracle", operator="tests", reason="a test")
        skill = org.skills.create(name="Summary", prompt_template="Summarise in one line: {{text}}")
        run = org.skills.execute(skill.id, {"text": "x"})
        with pytest.raises(TimeoutError):
            org.executions.wait(run.id, timeout=0.5)
        with client.worker(concurrency=2):
            assert org.executions.wait(run.id, timeout=30).status == "completed"


def test_everything_ends_when_the_interpreter_does(own_data_dir: Path) -> None:
    code = """
        import asyncio, kijko, sys
        async def main():
            async with kijko.embedded(sys.argv[1]) as client:
                org = await client.organization("Oracle", operator="tests", reason="a test")
                print([one.name async for one in org.skills.list()])
        asyncio.run(main())
    """
    for _ in range(3):
        done = run(code, str(own_data_dir))
        assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_cancelling_a_task_ends_its_wait(enter: Enter) -> None:
    async def use() -> None:
        org = enter().aio
        skill = await org.skills.create(name="Summary", prompt_template="Summarise in one line: {{text}}")
        run = await org.skills.execute(skill.id, {"text": "x"})
        waiting = asyncio.create_task(org.executions.wait(run.id))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await org.executions.wait(run.id, timeout=30)).status == "completed"

    asyncio.run(use())
