"""The databases that the service is tested on."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from support.postgres import Missing, Postgres, postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    try:
        with postgres() as server:
            yield server
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest) -> str | None:
    """An empty database of each kind; None is the SQLite of the data folder."""
    if request.param == "sqlite":
        return None
    server: Postgres = request.getfixturevalue("postgres_server")
    return await server.new_database(f"t{secrets.token_hex(4)}")
