"""When a pod that is not there any more is surely dead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from footplate_hub.engines.kubernetes import ends
from footplate_hub.engines.kubernetes.api import ApiError
from footplate_hub.engines.kubernetes.ends import Ends


class Leases:
    """Nodes that speak now, spoke long ago, or have no lease."""

    def __init__(self) -> None:
        self.spoke: dict[str, datetime] = {}
        self.asked = 0

    async def get(self, path):
        self.asked += 1
        node = path.rpartition("/")[2]
        if node not in self.spoke:
            raise ApiError(404, "NotFound", f"leases {node!r} not found")
        return {"spec": {"renewTime": self.spoke[node].isoformat()}}


@pytest.fixture
def leases(monkeypatch):
    monkeypatch.setattr(ends, "LOOK_AGAIN", 0.0)
    return Leases()


async def test_once_its_node_spoke_long_enough_after_it_was_missed(leases):
    found = Ends(leases, lambda node: True)
    leases.spoke["n1"] = datetime.now(UTC) + timedelta(seconds=10)
    assert not await found.certain("u1", "n1")
    leases.spoke["n1"] = datetime.now(UTC) + timedelta(seconds=16)
    assert await found.certain("u1", "n1")
    assert "u1" in found


async def test_never_while_its_node_says_nothing(leases):
    found = Ends(leases, lambda node: True)
    leases.spoke["n1"] = datetime.now(UTC) - timedelta(days=1)
    assert not await found.certain("u1", "n1")
    assert not await found.certain("u2", "no-lease")


async def test_when_its_node_was_removed(leases):
    assert await Ends(leases, lambda node: False).certain("u1", "n1")


async def test_when_it_was_noted_without_asking_anybody(leases):
    found = Ends(leases, lambda node: True)
    found.note("u1")
    assert await found.certain("u1", "n1")
    assert leases.asked == 0


async def test_many_pods_of_a_node_are_one_question(leases, monkeypatch):
    monkeypatch.setattr(ends, "LOOK_AGAIN", 60.0)
    found = Ends(leases, lambda node: True)
    leases.spoke["n1"] = datetime.now(UTC)
    for number in range(100):
        assert not await found.certain(f"u{number}", "n1")
    assert leases.asked == 1
