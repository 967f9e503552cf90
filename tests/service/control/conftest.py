"""Control with a fake engine: on SQLite, and on both databases where SQL is what is tested."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.control import Rig, machine, rig


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


@pytest.fixture
async def any_rig(tmp_path: Path, database_url: str | None) -> AsyncIterator[Rig]:
    """One node, on both databases."""
    async with rig(tmp_path / "data", url=database_url) as running:
        yield running
