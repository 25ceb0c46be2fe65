"""Skills and executions do in process what they do over HTTP."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import pickle
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import kijko
import pytest


def test_a_skill_is_created_read_changed_listed_and_deleted(org: kijko.Organization) -> None:
    made = org.skills.create(
        name="Review",
        prompt_template="Review this code: {{code}}",
        description="Looks at code",
        category=kijko.SkillCategory.ANALYSIS,
        parameters=kijko.Parameters(temperature=0.5, max_tokens=100, stop_sequences=("END",)),
        input_schema=[kijko.InputField(name="code", type=kijko.InputFieldType.STRING, required=True)],
    )
    assert org.skills.get(made.id) == made, "what was made is what is read"
    assert made.parameters.stop_sequences == ("END",)
    assert made.input_schema is not None and made.input_schema[0].name == "code"
    changed = org.skills.update(made.id, name="Review (again)", description=None)
    assert (changed.name, changed.description) == ("Review (again)", None)
    assert changed.prompt_template == made.prompt_template, "what is left out keeps its value"
    assert [one.id for one in org.skills.list(category="analysis", search="again")] == [made.id]
    org.skills.delete(made.id)
    assert list(org.skills.list()) == []


def test_a_list_is_fetched_a_page_at_a_time(org: kijko.Organization) -> None:
    for number in range(105):
        org.skills.create(name=f"Skill {number}", prompt_template="Say something nice about {{name}}")
    names = [skill.name for skill in org.skills.list(sort=kijko.SkillSort.CREATED)]
    assert sorted(names) == sorted(f"Skill {number}" for number in range(105)), "every page, nothing twice"


def test_a_run_is_waited_for_and_followed(org: kijko.Organization, skill: kijko.Skill) -> None:
    run = org.skills.execute(skill.id, {"text": "Kijko keeps tenants apart."})
    assert run.status is kijko.ExecutionStatus.PENDING
    pieces = list(org.executions.stream(run.id))
    done = org.executions.wait(run.id, timeout=30)
    assert done.status is kijko.ExecutionStatus.COMPLETED and done.status.is_final
    assert "".join(pieces) == done.output, "the pieces are the output"
    assert done.tokens_used == (done.prompt_tokens or 0) + (done.completion_tokens or 0) > 0
    assert dict(done.input) == {"text": "Kijko keeps tenants apart."}
    assert [one.id for one in org.executions.list(skill=skill.id, start=date.today() - timedelta(days=1))] == [run.id]
    assert org.skills.get(skill.id).execution_count == 1


def test_a_repeated_request_starts_one_run(org: kijko.Organization, skill: kijko.Skill) -> None:
    runs = {org.skills.execute(skill.id, {"text": "x"}, idempotency_key="once").id for _ in range(3)}
    assert len(runs) == 1
    with pytest.raises(kijko.Conflict) as refused:
        org.skills.execute(skill.id, {"text": "y"}, idempotency_key="once")
    assert refused.value.code == "IDEMPOTENCY_CONFLICT"
    org.executions.wait(runs.pop(), timeout=30)


def test_a_wait_that_is_too_short_says_so_and_the_run_goes_on(org: kijko.Organization, skill: kijko.Skill) -> None:
    run = org.skills.execute(skill.id, {"text": "x"})
    with pytest.raises(TimeoutError):
        org.executions.wait(run.id, timeout=0)
    assert org.executions.wait(run.id, timeout=30).status == "completed"


def test_what_cannot_be_cancelled_says_why(org: kijko.Organization, skill: kijko.Skill) -> None:
    run = org.skills.execute(skill.id, {"text": "x"})
    org.executions.wait(run.id, timeout=30)
    with pytest.raises(kijko.Conflict) as refused:
        org.executions.cancel(run.id)
    assert (refused.value.code, dict(refused.value.details)) == ("CANNOT_CANCEL", {"status": "completed"})


def test_objects_are_frozen_equal_hashable_and_know_their_json(org: kijko.Organization, skill: kijko.Skill) -> None:
    again = org.skills.get(skill.id)
    assert again == skill and hash(again) == hash(skill) and len({again, skill}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        skill.name = "Another"  # type: ignore[misc]
    assert isinstance(skill.id, UUID)
    assert skill.created_at.utcoffset() == timedelta(0), "moments have their time zone"
    assert abs(datetime.now(UTC) - skill.created_at) < timedelta(minutes=5)
    json = skill.to_dict()
    assert json["promptTemplate"] == skill.prompt_template
    json["name"] = "Another"
    assert skill.to_dict()["name"] == "Summary", "the copy is the caller's own"
    assert "Summary" in repr(skill)


def test_an_error_tells_what_happened_and_survives_pickling(org: kijko.Organization) -> None:
    with pytest.raises(kijko.InvalidInput) as refused:
        org.skills.create(name="", prompt_template="short")
    error = refused.value
    assert (error.code, error.field, error.retryable) == ("VALIDATION_ERROR", "name", False)
    assert [one["field"] for one in error.details["errors"]] == ["name", "promptTemplate"]
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.code, again.details) == (type(error), str(error), error.code, error.details)


def test_the_same_names_can_be_awaited(org: kijko.Organization) -> None:
    async def use() -> None:
        aio = org.aio
        skill = await aio.skills.create(name="Summary", prompt_template="Summarise in one line: {{text}}")
        assert [one.id async for one in aio.skills.list()] == [skill.id]
        run = await aio.skills.execute(skill.id, {"text": "x"})
        pieces = [piece async for piece in aio.executions.stream(run.id)]
        done = await aio.executions.wait(run.id, timeout=30)
        assert "".join(pieces) == done.output
        with pytest.raises(kijko.NotFound):
            await aio.executions.get(uuid4())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(aio.executions.wait(await pending(aio)), timeout=0.01)

    async def pending(aio: kijko.AsyncOrganization) -> UUID:
        return (await aio.skills.execute([one.id async for one in aio.skills.list()][0], {"text": "y"})).id

    asyncio.run(use())


def test_every_change_of_the_definition_makes_a_version(org: kijko.Organization, skill: kijko.Skill) -> None:
    changed = org.skills.update(skill.id, prompt_template="Summarise in two lines: {{text}}")
    assert (skill.version, changed.version) == (1, 2)
    renamed = org.skills.update(skill.id, description="Not the definition")
    assert renamed.version == 2
    assert [(one.number, one.is_current) for one in org.skills.versions(skill.id)] == [(2, True), (1, False)]
    first = org.skills.version(skill.id, 1)
    assert (first.prompt_template, first.author_id) == (skill.prompt_template, skill.user_id)
    restored = org.skills.restore(skill.id, 1)
    assert (restored.version, restored.prompt_template) == (3, skill.prompt_template)
    run = org.executions.wait(org.skills.execute(skill.id, {"text": "x"}).id, timeout=30)
    assert run.skill_version == 3
    with pytest.raises(kijko.NotFound) as missing:
        org.skills.version(skill.id, 4)
    assert missing.value.code == "VERSION_NOT_FOUND"


def test_a_skill_is_tried_without_a_trace(org: kijko.Organization, skill: kijko.Skill) -> None:
    tried = org.skills.test(skill.id, {"text": "x"}, timeout=30)
    assert tried.status == "completed" and tried.output and tried.tokens_used
    draft = org.skills.test_draft(prompt_template="Only a draft of {{it}}", input={"it": "a skill"}, timeout=30)
    assert draft.output and "Only a draft of a skill" in draft.output
    assert list(org.executions.list()) == [], "a test leaves no trace"


def test_what_ended_badly_is_tried_again_and_everything_is_counted(org: kijko.Organization, skill: kijko.Skill) -> None:
    done = org.executions.wait(org.skills.execute(skill.id, {"text": "x"}).id, timeout=30)
    with pytest.raises(kijko.Conflict) as refused:
        org.executions.retry(done.id)
    assert refused.value.code == "CANNOT_RETRY"
    # Whoever is faster, the run is ended by somebody.
    cancelled = org.skills.execute(skill.id, {"text": "never mind " * 2000})
    org.executions.cancel(cancelled.id)
    again = {org.executions.retry(cancelled.id, idempotency_key="again") for _ in range(2)}
    assert len(again) == 1
    assert org.executions.wait(again.pop(), timeout=30).status == "completed"
    stats = org.skills.stats(skill.id, period="7d")
    assert (stats.total_runs, stats.success_rate, len(stats.days)) == (2, 100, 7)
    assert stats.executions_by_status[kijko.ExecutionStatus.CANCELLED] == 1


def test_a_skill_is_copied_and_taken_along(org: kijko.Organization, skill: kijko.Skill) -> None:
    copy = org.skills.duplicate(skill.id)
    assert (copy.name, copy.prompt_template) == ("Summary (Copy)", skill.prompt_template)
    assert org.skills.duplicate(skill.id, new_name="Another").name == "Another"
    exported = org.skills.export(skill.id)
    assert exported["version"] == "1.0" and "id" not in exported["skill"]
    again = org.skills.import_(exported)
    assert (again.name, again.prompt_template) == ("Summary (1)", skill.prompt_template)
    with pytest.raises(kijko.InvalidInput) as refused:
        org.skills.import_({**exported, "version": "2.0"})
    assert refused.value.code == "UNSUPPORTED_VERSION"


@pytest.mark.parametrize("bad", ["\ud800", 10**400, float("nan"), {1, 2}, b"bytes"])
def test_what_json_cannot_say_is_bad_input(org: kijko.Organization, skill: kijko.Skill, bad: object) -> None:
    with pytest.raises(kijko.InvalidInput):
        org.skills.execute(skill.id, {"text": bad})
    with pytest.raises((kijko.InvalidInput, TypeError)):
        org.skills.create(name=bad, prompt_template="Summarise this: {{text}}")  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [None, 5, object()])
def test_what_is_no_id_is_a_mistake_of_the_program(org: kijko.Organization, wrong: Any) -> None:
    for call in (org.skills.get, org.skills.execute, org.executions.get, org.executions.wait):
        with pytest.raises(TypeError):
            call(wrong)
    with pytest.raises(TypeError):
        org.skills.execute(org.id, wrong or 5)  # type: ignore[arg-type]


def test_answers_can_be_copied_pickled_and_used_again(org: kijko.Organization) -> None:
    field = kijko.InputField(name="text", type=kijko.InputFieldType.OBJECT, default={"a": [1, {"b": 2}]})
    skill = org.skills.create(name="Deep", prompt_template="Look at this: {{text}}", input_schema=[field])
    assert skill.input_schema == (field,)
    run = org.skills.execute(skill.id, {"text": {"c": [3]}})
    done = org.executions.wait(run.id, timeout=30)
    for answer in (skill, done, org.skills.stats(skill.id)):
        assert pickle.loads(pickle.dumps(answer)) == answer == copy.deepcopy(answer)
        assert dataclasses.asdict(answer)
    again = org.skills.execute(skill.id, done.input)
    assert org.executions.wait(again.id, timeout=30).input == done.input
    with pytest.raises(TypeError):
        done.input["text"] = "changed"  # type: ignore[index]


def test_a_wait_of_no_time_looks_once(org: kijko.Organization, skill: kijko.Skill) -> None:
    run = org.skills.execute(skill.id, {"text": "x"})
    org.executions.wait(run.id, timeout=30)
    assert org.executions.wait(run.id, timeout=0).status == "completed"
    with pytest.raises(ValueError, match="timeout"):
        org.executions.wait(run.id, timeout=float("nan"))
    assert org.skills.test(skill.id, {"text": "x"}, timeout=None).status == "completed"
