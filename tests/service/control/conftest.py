"""Control with a fake engine: on SQLite, and on both databases where SQL is what is tested."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.control import Rig, machine, rig
from support.postgres import Missing, Postgres, postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    try:
        with postgres() as server:
            yield server
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Rig]:
    """One node of four cores."""
    async with rig(tmp_path / "data") as running:
        yield running


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Rig]:
    """Two nodes of two cores and two GPUs."""
    nodes = [machine(name, 2000, 2, address=f"10.0.0.{i}") for i, name in enumerate(("n1", "n2"), 1)]
    async with rig(tmp_path / "data", *nodes) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
async def any_rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """One node, on both databases."""
    url = None
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres_server")
        url = await server.new_database(f"t{secrets.token_hex(4)}")
    async with rig(tmp_path / "data", url=url) as running:
        yield running
