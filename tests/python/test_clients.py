"""Opening and closing, who may enter, and what becomes of a process that ends badly."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import kijko
import pytest
from conftest import Enter


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


def test_an_open_client_is_not_opened_again(data_dir: Path) -> None:
    with kijko.embedded(data_dir) as client:
        with pytest.raises(kijko.ClientUnusable) as refused, client:
            pass
        assert refused.value.code == "CLIENT_OPEN"
        client.organization("Oracle", operator="tests", reason="still open")


def test_what_came_of_a_closed_client_says_that_it_is_closed(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    with kijko.embedded(data_dir) as client:
        org = client.organization("Oracle", operator="tests", reason="a test")
    for call in (lambda: next(org.skills.list()), lambda: next(org.executions.stream(uuid.uuid4()))):
        with pytest.raises(kijko.ClientUnusable) as refused:
            call()
        assert (refused.value.code, refused.value.retryable) == ("CLIENT_CLOSED", False)
    assert caplog.records == [], "that is no failure of ours"


def test_a_client_that_is_never_closed_is_warned_about(data_dir: Path) -> None:
    client = kijko.embedded(data_dir, worker=False).__enter__()
    with pytest.warns(ResourceWarning, match="was not closed"):
        del client


def test_nothing_that_was_not_given_is_a_setting(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(kijko.ConfigurationError):
        kijko.connect("  ")
    with pytest.raises(TypeError):
        kijko.embedded(data_dir, cors_origins=[1])  # type: ignore[list-item]
    # As an orchestrator sets them for a service of that name.
    monkeypatch.setenv("PORT", "tcp://10.0.0.1:80")
    monkeypatch.setenv("HOST", "my-laptop")
    with kijko.embedded(data_dir, smtp_url=None) as client:
        client.organization("Oracle", operator="tests", reason="a test")


def test_settings_that_are_no_good_are_all_named() -> None:
    with pytest.raises(kijko.ConfigurationError) as refused, kijko.embedded(db_max_connections="many", job_concurrency=0):
        pass
    assert len(refused.value.details["problems"]) == 2, refused.value


def test_a_database_that_is_not_there_says_so() -> None:
    with pytest.raises(kijko.StartError), kijko.connect("postgresql://nobody@127.0.0.1:1/nothing"):
        pass


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


def test_a_worker_of_its_own_runs_what_others_ask_for(own_data_dir: Path) -> None:
    with kijko.embedded(own_data_dir, worker=False) as client:
        org = client.organization("Oracle", operator="tests", reason="a test")
        skill = org.skills.create(name="Summary", prompt_template="Summarise in one line: {{text}}")
        run = org.skills.execute(skill.id, {"text": "x"})
        with pytest.raises(TimeoutError):
            org.executions.wait(run.id, timeout=0.5)
        with client.worker(concurrency=2):
            assert org.executions.wait(run.id, timeout=30).status == "completed"


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
