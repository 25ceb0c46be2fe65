"""The same bad input is refused with the same codes as over HTTP: `tests/it/refusals.rs` reads the same table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kijko
import pytest
from kijko._calls import Call

CASES = json.loads((Path(__file__).parents[1] / "cases" / "refusals.json").read_text())


def written_out(body: Any) -> Any:
    """`$501` stands for a text of so many characters."""
    if isinstance(body, str) and body[:1] == "$" and body[1:].isdigit():
        return "x" * int(body[1:])
    if isinstance(body, dict):
        return {name: written_out(value) for name, value in body.items()}
    return body


def test_every_case_of_the_table_is_refused_with_its_code_and_fields(org: kijko.Organization) -> None:
    template = "Summarise in one line: {{text}}"
    schema = [kijko.InputField(name="text", type=kijko.InputFieldType.STRING, required=True)]
    targets = {
        "taken": org.skills.create(name="Taken", prompt_template=template, input_schema=schema).id,
        "asleep": org.skills.create(name="Asleep", prompt_template=template, is_active=False).id,
        "unserved": org.skills.create(name="Unserved", prompt_template=template, model="nobody-has-this").id,
    }
    for case in CASES:
        target = case.get("target")
        target = None if target is None else str(targets.get(target, target))
        body = json.dumps(written_out(case.get("body", {}))).encode()
        with pytest.raises(kijko.KijkoError) as refused:
            org._make(Call(case["call"], target, body, lambda answer: answer))
        error = refused.value
        fields = [one["field"] for one in error.details.get("errors", [])] or [error.field] if error.field else []
        assert (error.code, fields) == (case["code"], case.get("fields", [])), case["about"]
    assert len(list(org.skills.list())) == 3 and not list(org.executions.list()), "what is refused changes nothing"
