"""An installation for all tests, in a process of their own, with organisations that each test enters anew."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import kijko
import pytest


def make_data_dir() -> Path:
    """A folder that PostgreSQL's own user can enter, which pytest's are not."""
    folder = Path(tempfile.mkdtemp(prefix="kijko-python-"))
    folder.chmod(0o755)
    return folder / "data"


@pytest.fixture
def own_data_dir() -> Iterator[Path]:
    yield make_data_dir()


@pytest.fixture(scope="session")
def data_dir() -> Iterator[Path]:
    folder = make_data_dir()
    yield folder
    shutil.rmtree(folder.parent)


@pytest.fixture(scope="session")
def client(data_dir: Path) -> Iterator[kijko.Client]:
    with kijko.embedded(data_dir) as client:
        yield client


Enter = Callable[[], kijko.Organization]


@pytest.fixture
def enter(client: kijko.Client) -> Enter:
    """Enters an organisation that nobody else knows."""

    def enter() -> kijko.Organization:
        return client.organization(f"Org {uuid.uuid4()}", operator="tests", reason="a test")

    return enter


@pytest.fixture
def org(enter: Enter) -> kijko.Organization:
    return enter()


@pytest.fixture
def skill(org: kijko.Organization) -> kijko.Skill:
    return org.skills.create(name="Summary", prompt_template="Summarise in one line: {{text}}")
