"""The examples of docs/python.md do what they say, as they stand, one after the other in one empty folder."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import make_data_dir

DOCUMENT = Path(__file__).parents[2] / "docs" / "python.md"


def test_every_example_runs_as_it_stands() -> None:
    examples = re.findall(r"<!-- run -->\n```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert len(examples) == 4, "the examples are marked with <!-- run -->"
    folder = make_data_dir()
    folder.mkdir()
    folder.chmod(0o755)
    told = []
    for example in examples:
        done = subprocess.run(
            [sys.executable, "-c", example], cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{example}\n{done.stderr}"
        told.append(done.stdout)
    shutil.rmtree(folder.parent)
    assert re.search(r"Kijko keeps tenants apart\.completed \d+ 0$", told[0]), told[0]
    assert "Tasks share one runtime." in told[1], told[1]
    assert told[2] == "SAY IT OUT LOUD: HELLO \n", told[2]
    assert told[3].startswith("promptTemplate promptTemplate must have 20 to 10000 characters"), told[3]
