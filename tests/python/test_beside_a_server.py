"""Python and a server on one database: each sees what the other does, and a run of the server is followed here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kijko
import pytest
from conftest import make_data_dir

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).parents[2] / "target"))
PORT = 18765


def post(path: str, body: dict[str, Any], token: str | None = None) -> Any:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.loads(reply.read() or "null")


def get(path: str, token: str) -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.loads(reply.read())


def sign_up(email: str) -> Any:
    person = {"email": email, "password": "testpass123", "first_name": "Ada", "last_name": "L"}
    return post("/api/v1/auth/signup", person)["access_token"]


def is_up() -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=1):
            return True
    except OSError:  # Not there yet, or there and not ready to answer.
        return False


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    """A server on an embedded database; its data directory."""
    data_dir = make_data_dir()
    settings = {"KIJKO_DATA_DIR": str(data_dir), "HOST": "127.0.0.1", "PORT": str(PORT), "SHUTDOWN_GRACE_SECS": "1"}
    program = TARGET / "debug" / "kijko-http"
    assert program.exists(), f"{program} is missing: cargo build -p kijko-http"
    with subprocess.Popen([program], env=os.environ | settings, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while not is_up():
                assert process.poll() is None and time.monotonic() < deadline, "the server does not start"
                time.sleep(0.05)
            yield data_dir
        finally:
            process.terminate()


def url_of(server: Path) -> str:
    socket = next((server / "postgres" / "run").glob(".s.PGSQL.*[0-9]"))
    port = socket.name.rsplit(".", 1)[1]
    return f"postgresql://kijko_app@localhost:{port}/kijko?host={socket.parent}"


@pytest.fixture
def beside(server: Path) -> kijko.Client:
    """A client of the same database, which leaves the jobs to the server."""
    return kijko.connect(url_of(server), kijko_data_dir=server)


def test_what_python_asks_for_the_server_runs(beside: kijko.Client) -> None:
    with beside as client:
        org = client.organization("Beside", operator="oracle-cortex", reason="nightly review")
        skill = org.skills.create(name="Summary", prompt_template="Summarise in one line: {{text}}")
        run = org.skills.execute(skill.id, {"text": "Kijko keeps tenants apart."})
        pieces = list(org.executions.stream(run.id))
        done = org.executions.wait(run.id, timeout=30)
        assert (done.status, done.output) == ("completed", "".join(pieces))
        assert len(pieces) > 1, "the pieces came from the server's process while it wrote them"


def test_what_is_asked_over_http_python_answers(beside: kijko.Client) -> None:
    token = sign_up("grace@example.com")
    with beside as client:

        @client.model_provider("oracle")
        def oracle(question: kijko.Question) -> Iterator[str]:
            yield "The oracle heard: "
            yield question.prompt

        listed = {model["id"]: model for model in get("/api/v1/skills/models", token)["models"]}
        assert (listed["oracle"]["provider"], listed["oracle"]["available"]) == ("program", True)
        body = {"name": "Asks", "promptTemplate": "What of this: {{text}}", "model": "oracle"}
        skill = post("/api/v1/skills", body, token)["id"]
        runs = [
            post(f"/api/v1/skills/{skill}/execute", {"input": {"text": str(number)}}, token)["executionId"]
            for number in range(10)
        ]
        hers = client.organization(token=token)
        for number, run in enumerate(runs):
            done = hers.executions.wait(run, timeout=30)
            assert (done.status, done.output) == ("completed", f"The oracle heard: What of this: {number}")
        ordinary = post("/api/v1/skills", {"name": "Ordinary", "promptTemplate": "Summarise this: {{text}}"}, token)
        run = hers.skills.execute(ordinary["id"], {"text": "x"})
        output = hers.executions.wait(run.id, timeout=30).output
        assert output is not None and "offline" in output, "the server still does its own work"


def test_a_run_whose_program_is_killed_fails_and_is_not_asked_again(server: Path, beside: kijko.Client) -> None:
    code = '''
        import kijko, sys, time
        with kijko.connect(sys.argv[1], kijko_data_dir=sys.argv[2], execution_lease_secs=4) as client:
            @client.model_provider("mortal")
            def mortal(question):
                print("asked", flush=True)
                time.sleep(60)
            time.sleep(60)
    '''
    with beside as client:
        token = sign_up("mortal@example.com")
        org = client.organization("Mortal", operator="tests", reason="a test")
        command = [sys.executable, "-c", textwrap.dedent(code), url_of(server), str(server)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            deadline = time.monotonic() + 30
            while "mortal" not in [model["id"] for model in get("/api/v1/skills/models", token)["models"]]:
                assert time.monotonic() < deadline, "the program does not register its model"
                time.sleep(0.05)
            skill = org.skills.create(name="Mortal", prompt_template="Who lives for ever, {{text}}", model="mortal")
            run = org.skills.execute(skill.id, {"text": "x"})
            assert program.stdout.readline() == "asked\n"
            program.kill()
        done = org.executions.wait(run.id, timeout=30)
        assert (done.status, done.error_code) == ("failed", "WORKER_LOST")


def test_the_example_of_the_guide_runs_beside_a_server(server: Path, beside: kijko.Client, tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "python.md").read_text()
    example = guide.split("<!-- run -->\n```python\n", 1)[1].split("```", 1)[0]
    opened = 'kijko.embedded("./kijko-data")'
    assert opened in example, "the guide's first example opens an embedded client"
    pasted = example.replace(opened, f'kijko.connect("{url_of(server)}", kijko_data_dir="{server}")')
    printed = subprocess.run([sys.executable, "-c", pasted], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert printed.returncode == 0, printed.stderr
    assert "Kijko keeps tenants apart." in printed.stdout and "completed" in printed.stdout


def test_a_token_and_a_key_of_the_server_are_good_here_as_far_as_they_reach(beside: kijko.Client) -> None:
    token = sign_up("ada@example.com")
    skill = post("/api/v1/skills", {"name": "Hers", "promptTemplate": "Summarise this: {{text}}"}, token)
    reading, writing = (
        post("/api/v1/security/api-keys", {"name": "A key", "expiration": "never", "scopes": [scope]}, token)["key"]
        for scope in ("read", "write")
    )
    with beside as client:
        assert client.organization(token=token).skills.get(skill["id"]).name == "Hers"
        reader, writer = client.organization(api_key=reading), client.organization(api_key=writing)
        assert [one.name for one in reader.skills.list()] == ["Hers"]
        assert writer.skills.update(skill["id"], description="Changed").description == "Changed"
        for refused in (
            lambda: reader.skills.update(skill["id"], description="No"),
            lambda: reader.skills.execute(skill["id"]),
            lambda: writer.skills.delete(skill["id"]),
        ):
            with pytest.raises(kijko.Forbidden) as error:
                refused()
            assert error.value.code == "INSUFFICIENT_SCOPE"
        post("/api/v1/auth/logout", {}, token)
        deadline = time.monotonic() + 5
        with pytest.raises(kijko.Unauthenticated):
            while time.monotonic() < deadline:
                client.organization(token=token).skills.get(skill["id"])
                time.sleep(0.05)
