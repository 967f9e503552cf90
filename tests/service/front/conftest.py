"""The service under test: on SQLite, or on both databases where SQL is what is tested."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.service import Service, run_service


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with run_service(tmp_path / "data") as running:
        yield running


@pytest.fixture
async def any_service(tmp_path: Path, database_url: str | None) -> AsyncIterator[Service]:
    async with run_service(tmp_path / "data", database=database_url) as running:
        yield running
