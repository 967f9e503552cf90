"""What every engine promises, held against the local engine with real keepers and against the tests' fake."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from footplate_agent import processes
from footplate_hub.engines import Attempt, Observation, PlacedReplica
from footplate_hub.engines.local import LocalEngine
from footplate_hub.settings import Settings
from footplate_hub.tokens import ReplicaTokens
from footplate_spec import JobSpec
from support.control import FakeEngine, eventually, machine


class Local:
    """The local engine and what a test asks of the machine."""

    def __init__(self, data: Path) -> None:
        data.mkdir(mode=0o700)
        self.data = data
        nodes = [{"name": name, "cpu": 4, "memory": "8Gi"} for name in ("n1", "n2")]
        # Nobody listens there: agents go on without their service.
        self.settings = Settings(data=data, bind_port=1, clusters=[{"name": "local", "nodes": nodes}])
        self.engine: Any = self.another()

    def another(self) -> LocalEngine:
        tokens = ReplicaTokens(self.data / "replicas.key")
        return LocalEngine(self.settings, self.settings.clusters[0], tokens)

    def keepers(self, attempt: str) -> int:
        folder = self.data / "replicas" / attempt
        found = list(folder.glob("*/keeper.json")) if folder.exists() else []
        return sum(_locked(f.parent / "lock") for f in found)

    def programs(self, attempt: str) -> list[int]:
        return processes.marked(str(self.data / "replicas" / attempt / "worker-0"))

    def kill_keeper(self, attempt: str) -> None:
        import json

        noted = json.loads((self.data / "replicas" / attempt / "worker-0" / "keeper.json").read_text())
        os.kill(noted["pid"], signal.SIGKILL)


class Fake:
    """The fake, likewise."""

    def __init__(self) -> None:
        self.engine: Any = FakeEngine(machine("n1"), machine("n2"))

    def another(self) -> FakeEngine:
        return self.engine

    def keepers(self, attempt: str) -> int:
        return len(self.engine.keepers.get(attempt, ()))

    def kill_keeper(self, attempt: str) -> None:
        self.engine.die(attempt, "worker-0")


def _locked(path: Path) -> bool:
    import fcntl

    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.fixture(params=["local", "fake"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    under_test: Any = Local(tmp_path / "data") if request.param == "local" else Fake()
    await under_test.engine.start()
    yield under_test
    for attempt in ("job-a1", "job-a2"):
        await under_test.engine.delete(make(attempt, 2), patience=0)
    await under_test.engine.stop()


def make(name: str = "job-a1", replicas: int = 1, command: Any = ("sleep", "600")) -> Attempt:
    spec = JobSpec.model_validate({"command": list(command), "group": "g", "roles": [{"replicas": replicas}]})
    placed = tuple(PlacedReplica("worker", i, f"n{i % 2 + 1}") for i in range(replicas))
    number = int(name.rpartition("a")[2])
    return Attempt(name, "job", number, "ada", "g", spec, 600, placed)


async def seen(engine: Any, until: int) -> list[Observation]:
    found: list[Observation] = []
    async for observation in engine.observe():
        found.append(observation)
        if len(found) == until:
            break
    return found


async def test_nodes_are_those_of_the_configuration(place):
    assert [node.name for node in await place.engine.nodes()] == ["n1", "n2"]


async def test_applying_twice_has_one_keeper_for_each_replica(place):
    for _ in range(3):
        await place.engine.apply(make(replicas=2))
    await eventually(lambda: place.keepers("job-a1") == 2)
    await place.engine.apply(make(replicas=2))
    assert place.keepers("job-a1") == 2


async def test_deleting_leaves_nothing_and_may_be_repeated(place):
    await place.engine.apply(make(replicas=2))
    await eventually(lambda: place.keepers("job-a1") == 2)
    for _ in range(2):
        await asyncio.wait_for(place.engine.delete(make(replicas=2), patience=0), 30)
        assert place.keepers("job-a1") == 0


async def test_deleting_what_never_was_is_done_at_once(place):
    await asyncio.wait_for(place.engine.delete(make("job-a2")), 5)


async def test_the_death_of_a_keeper_is_seen_and_applying_again_is_the_cure(place):
    await place.engine.apply(make())
    await eventually(lambda: place.keepers("job-a1") == 1)
    place.kill_keeper("job-a1")
    [observation] = await asyncio.wait_for(seen(place.engine, 1), 10)
    assert observation == Observation("job-a1", "worker", 0, False)
    await place.engine.apply(make())
    await eventually(lambda: place.keepers("job-a1") == 1)


async def test_keepers_outlive_the_service_and_the_next_one_sees_them_first(place):
    await place.engine.apply(make())
    await eventually(lambda: place.keepers("job-a1") == 1)
    await place.engine.stop()
    place.engine = place.another()
    await place.engine.start()
    [observation] = await asyncio.wait_for(seen(place.engine, 1), 10)
    assert observation == Observation("job-a1", "worker", 0, True)
    assert place.keepers("job-a1") == 1
