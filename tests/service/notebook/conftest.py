"""One platform and one kernel for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from footplate.client import Client
from footplate.profile import Profile
from support.kernel import Kernel, kernel
from support.whole import Whole, whole


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole(tmp_path_factory.mktemp("platform")) as running:
        yield running


@pytest.fixture(scope="session")
def ada(platform: Whole, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of ada's kernel."""
    home = tmp_path_factory.mktemp("ada")
    return {
        "FOOTPLATE_URL": platform.url,
        "FOOTPLATE_TOKEN": "token-ada",
        "HOME": str(home),
        "IPYTHONDIR": str(home / ".ipython"),
    }


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="session")
def k(platform: Whole, ada: dict[str, str], work: Path) -> Iterator[Kernel]:
    with kernel(work, ada) as running:
        assert not running.run("%load_ext footplate\nimport footplate as fp, numpy as np").error
        yield running


@pytest.fixture
def here(platform: Whole, ada: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process as ada, in a folder of its own."""
    for name, value in ada.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def as_(platform: Whole) -> Iterator[object]:
    """Clients of other people."""
    made: list[Client] = []

    def client(name: str) -> Client:
        made.append(Client(Profile(platform.url, fixed_token=f"token-{name}"), patience=5))
        return made[-1]

    yield client
    for one in made:
        one.close()
