"""A service that fails on request, and a process that knows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from footplate import session
from footplate.client import Client
from support.notebook import TOKEN, Service


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service()
    running.start()
    yield running
    running.stop()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a home of its own."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    for name in ("FOOTPLATE_URL", "FOOTPLATE_TOKEN", "FOOTPLATE_TOKEN_FILE", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("FOOTPLATE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def client(service: Service, here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """The process's client, as the variables of a dev machine make it."""
    monkeypatch.setenv("FOOTPLATE_URL", service.url)
    monkeypatch.setenv("FOOTPLATE_TOKEN", TOKEN)
    made = session.client()
    made.transport.patience = 5.0
    yield made
    made.close()
