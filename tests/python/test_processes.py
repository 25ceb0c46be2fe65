"""What becomes of a process: forked, interrupted, killed, or at its end with work still under way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import kijko
import pytest


def run(code: str, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Another Python."""
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def servers(data_dir: Path) -> list[str]:
    """The PostgreSQL processes of this data directory."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if "postgres" in line and str(data_dir) in line]


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


def test_both_halves_of_a_fork_can_go_on(own_data_dir: Path) -> None:
    code = """
        import kijko, os, sys

        async def answer(question):
            return "x"

        def use(who):
            with kijko.embedded(sys.argv[1], model_inactivity_timeout_secs=5) as client:
                client.model_provider("asynchronous")(answer)
                org = client.organization(who, operator="tests", reason="a test")
                skill = org.skills.create(name=who, prompt_template="Who are you, {{text}}", model="asynchronous")
                run = org.skills.execute(skill.id, {"text": "x"})
                print(who, org.executions.wait(run.id, timeout=30).output, skill.id, flush=True)

        use("before")
        for who in ("first", "second"):
            if os.fork() == 0:
                use(who)
                os._exit(0)
            os.wait()
        use("after")
    """
    done = run(code, str(own_data_dir))
    told = [line.split() for line in done.stdout.splitlines()]
    assert [line[:2] for line in told] == [[who, "x"] for who in ("before", "first", "second", "after")], done.stderr
    assert len({line[2] for line in told}) == 4, "no half makes the ids of the other"


def test_a_handler_of_a_signal_may_use_the_client(own_data_dir: Path) -> None:
    code = """
        import kijko, os, signal, sys, threading
        client = kijko.embedded(sys.argv[1], worker=False).__enter__()
        org = client.organization("Oracle", operator="tests", reason="a test")
        skill = org.skills.create(name="Never", prompt_template="This one waits for {{nobody}}")
        run = org.skills.execute(skill.id)

        def stop(*_):
            org.executions.cancel(run.id)
            print(org.executions.get(run.id).status, flush=True)
            client.close()
            sys.exit(7)

        signal.signal(signal.SIGTERM, stop)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        org.executions.wait(run.id)
    """
    done = run(code, str(own_data_dir))
    assert (done.returncode, done.stdout) == (7, "cancelled\n"), done.stderr


def test_an_interrupted_close_goes_on_and_can_be_waited_for_again(own_data_dir: Path) -> None:
    code = """
        import kijko, os, signal, sys, threading, time
        client = kijko.embedded(sys.argv[1]).__enter__()
        begun = threading.Event()

        @client.model_provider("slow")
        def slow(question):
            begun.set()
            time.sleep(2)
            return "done"

        org = client.organization("Oracle", operator="tests", reason="a test")
        skill = org.skills.create(name="Slow", prompt_template="Take your time: {{text}}", model="slow")
        run = org.skills.execute(skill.id, {"text": "x"})
        begun.wait()
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            client.close()
        except KeyboardInterrupt:
            print("interrupted")
        client.close()
        try:
            org.executions.get(run.id)
        except kijko.ClientUnusable as refused:
            print(refused.code)
        with kijko.embedded(sys.argv[1], worker=False) as again:
            org = again.organization("Oracle", operator="tests", reason="a test")
            print(org.executions.get(run.id).output)
    """
    done = run(code, str(own_data_dir))
    assert done.stdout.split() == ["interrupted", "CLIENT_CLOSED", "done"], done.stderr
    assert not servers(own_data_dir)


@pytest.mark.parametrize("ends", ["with", "without"])
def test_a_provider_that_outlives_its_run_does_not_spoil_the_end(own_data_dir: Path, ends: str) -> None:
    code = """
        import kijko, sys, threading, time
        client = kijko.embedded(sys.argv[1], shutdown_grace_secs=1).__enter__()
        begun = threading.Event()

        @client.model_provider("stubborn")
        def stubborn(question):
            begun.set()
            while True:
                time.sleep(0.001)

        org = client.organization("Oracle", operator="tests", reason="a test")
        skill = org.skills.create(name="Stubborn", prompt_template="Will you stop, {{text}}", model="stubborn")
        run = org.skills.execute(skill.id, {"text": "x"})
        begun.wait()
        threading.Thread(target=lambda: org.executions.wait(run.id), daemon=True).start()
        time.sleep(0.2)
        if sys.argv[2] == "with":
            client.close()
        print("at its end")
    """
    done = run(code, str(own_data_dir), ends)
    assert (done.returncode, done.stdout) == (0, "at its end\n"), done.stderr
    assert "panicked" not in done.stderr, done.stderr


def test_a_handler_of_the_log_that_fails_fails_no_call(own_data_dir: Path) -> None:
    code = """
        import kijko, logging, sys
        logging.basicConfig(level=logging.INFO)

        def broken(record):
            raise ValueError("a filter of the program")

        logging.getLogger().handlers[0].addFilter(broken)
        with kijko.embedded(sys.argv[1]) as client:
            org = client.organization("Oracle", operator="tests", reason="a test")
            try:
                org._tenant.call("no.such.call")
            except kijko.InternalError as error:
                print(error.code)
    """
    done = run(code, str(own_data_dir))
    assert done.stdout == "INTERNAL_ERROR\n", done.stderr
    assert "a filter of the program" in done.stderr, "it is told all the same"
