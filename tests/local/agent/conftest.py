"""A service and replicas for the agent's tests; whatever they start is gone afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.agent import Replica, Service


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as service:
        yield service


@pytest.fixture
def replica(service: Service, tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    """Makes replicas, and ends them."""
    made: list[Replica] = []

    def make(**start: object) -> Replica:
        made.append(Replica(tmp_path, service, **start))
        return made[-1]

    yield make
    for one in made:
        one.end()
