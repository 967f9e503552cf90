"""The service under test: on SQLite, or on both databases where SQL is what is tested."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.postgres import Missing, Postgres, postgres
from support.service import Service, run_service


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    try:
        with postgres() as server:
            yield server
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with run_service(tmp_path / "data") as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
async def any_service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    database = None
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres_server")
        database = await server.new_database(f"t{secrets.token_hex(4)}")
    async with run_service(tmp_path / "data", database=database) as running:
        yield running
