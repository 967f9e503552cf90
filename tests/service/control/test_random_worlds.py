"""Random bad luck, with agents that behave as the protocol says: the promises hold whatever happens.

Agents here keep what a replica's folder keeps (what was started, how it ended) through every death, lose
answers, and repeat themselves; the service is killed in the middle; people cancel, suspend and block.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from footplate_hub.control import Refused
from footplate_spec import JOB_FINAL, JobState
from support.control import Rig, machine, rig

OWN = [None, None, "restart_replica", "restart_gang", "fail_job", "ignore"]


@dataclass
class Folder:
    """A replica's truth: executions that were started, and their ends."""

    started: set[int] = field(default_factory=set)
    ends: dict[int, dict[str, Any]] = field(default_factory=dict)
    alive: int | None = None  # the execution whose process lives
    reported: dict[int, bool] = field(default_factory=dict)


class World:
    """Agents and what befalls them."""

    def __init__(self, seed: int, running: Rig) -> None:
        self.rng = random.Random(seed)
        self.rig = running
        self.folders: dict[tuple[str, str], Folder] = {}
        self.ran: dict[tuple[str, str], list[tuple[str, int]]] = {}  # (job, replica) -> executions that ran

    async def step(self) -> None:
        """One agent, chosen at random, does the next thing that it has to do."""
        keepers = [
            (attempt, key) for attempt, keys in self.rig.engine.keepers.items() for key in sorted(keys)
        ]
        if not keepers:
            await asyncio.sleep(0.002)
            return
        attempt, key = self.rng.choice(keepers)
        folder = self.folders.setdefault((attempt, key), Folder())
        try:
            await self._agent(attempt, key, folder)
        except ConnectionError:
            return  # the answer was lost; the agent asks again some time

    async def _agent(self, attempt: str, key: str, folder: Folder) -> None:
        unknown = [n for n in folder.started if n not in folder.ends and folder.alive != n]
        for number in unknown:  # a new keeper closes what a dead one left open
            folder.ends[number] = {"lost": True}
        wanted = await self._desired(attempt, key)
        if wanted.release:
            assert folder.alive is None
            self.rig.engine.die(attempt, key)
            return
        number = wanted.execution
        if folder.alive is not None:
            await self._running(attempt, key, folder, wanted)
        elif number in folder.ends:
            await self._say(attempt, "exited", key, execution=number, **folder.ends[number])
        elif wanted.stop is not None:
            folder.ends[number] = {"stopped": wanted.stop.reason, "ran": False}
        elif wanted.env is None or self.rng.random() < 0.2:
            await self._say(attempt, "ready", key, execution=number, address="127.0.0.1", port=5000)
        else:
            self._start(attempt, key, folder, number)

    def _start(self, attempt: str, key: str, folder: Folder, number: int) -> None:
        assert number not in folder.started, "an execution was started twice"
        job = attempt.rpartition("-a")[0]
        for (other, replica), its in self.folders.items():
            same = other.rpartition("-a")[0] == job and replica == key
            assert not (same and its.alive is not None), "two processes of one replica live"
        folder.started.add(number)
        folder.alive = number
        self.ran.setdefault((job, key), []).append((attempt, number))

    async def _running(self, attempt: str, key: str, folder: Folder, wanted: Any) -> None:
        number = folder.alive
        assert number is not None
        if wanted.stop is not None or wanted.execution > number:
            folder.ends[number] = {"stopped": wanted.stop.reason if wanted.stop else "gang", "exit_code": 0}
        elif self.rng.random() < 0.35:
            code = self.rng.choice([0, 0, 0, 1])
            folder.ends[number] = {"exit_code": code}
        else:
            await self._say(attempt, "running", key, execution=number)
            return
        folder.alive = None

    async def _desired(self, attempt: str, key: str) -> Any:
        if self.rng.random() < 0.05:
            raise ConnectionError
        return await self.rig.wants(attempt, key)

    async def _say(self, attempt: str, state: str, key: str, **fields: Any) -> None:
        await self.rig.say(attempt, state, key, **fields)
        if self.rng.random() < 0.1:
            raise ConnectionError  # it was heard, and nobody knows

    async def misfortune(self, jobs: list[str]) -> None:
        """Something that nobody planned."""
        what = self.rng.random()
        keepers = [(a, k) for a, keys in self.rig.engine.keepers.items() for k in sorted(keys)]
        if what < 0.35 and keepers:
            attempt, key = self.rng.choice(keepers)
            folder = self.folders.setdefault((attempt, key), Folder())
            folder.alive = None  # the next keeper ends what is left before it does anything else
            self.rig.engine.die(attempt, key)
        elif what < 0.5:
            await self.rig.restart()
        else:
            await self._person(self.rng.choice(jobs), what)

    async def _person(self, job: str, what: float) -> None:
        control = self.rig.control
        try:
            if what < 0.6:
                await control.cancel(job, "ada")
            elif what < 0.7:
                await control.suspend(job, "ada")
            elif what < 0.85:
                await control.resume(job, "ada")
            elif what < 0.92:
                await control.maintenance.block_node("local", self.rng.choice(["n1", "n2"]), "dust", "root")
            else:
                for name in ("n1", "n2"):
                    await control.maintenance.unblock_node("local", name, "root")
        except Refused:
            pass


@pytest.mark.parametrize("seed", range(12))
async def test_every_job_ends_once_and_runs_only_as_often_as_it_may(tmp_path, seed):
    nodes = [machine(name, 3000, 2, memory=2**36) for name in ("n1", "n2")]
    async with rig(tmp_path / "data", *nodes) as running:
        world = World(seed, running)
        jobs = []
        for _ in range(6):
            replicas = world.rng.choice([1, 1, 2, 3])
            role = {"replicas": replicas, "on_failure": world.rng.choice(OWN)}
            role["resources"] = {"gpu": world.rng.choice([0, 1])}
            limit = world.rng.choice([0, 1, 3])
            jobs.append(await running.submit(roles=[role], recovery={"max_restarts": limit}))
        for number in range(400):
            await world.step()
            if number % 9 == 0:
                await world.misfortune(jobs)
            _nothing_is_used_twice(running)
        for name in ("n1", "n2"):
            await running.control.maintenance.unblock_node("local", name, "root")
        for _ in range(4000):
            records = [await running.job(job) for job in jobs]
            if all(record.state in JOB_FINAL for record in records):
                break
            for record in records:
                if record.state is JobState.SUSPENDED:
                    await running.control.resume(record.id, "ada")
            await world.step()
        await _judge(world, jobs)


def _nothing_is_used_twice(running: Rig) -> None:
    for node in running.control.nodes():
        assert node.used_cpu <= node.cpu
        assert node.used_gpu <= node.gpu
    held = [
        (row.node, number)
        for live in running.control._board.jobs.values()
        if live.life.live
        for row in live.life.replicas.values()
        for number in row.gpus
    ]
    assert len(set(held)) == len(held)


async def _judge(world: World, jobs: list[str]) -> None:
    running = world.rig
    for job in jobs:
        record = await running.job(job)
        assert record.state in JOB_FINAL, (record, await running.attempts(job))
        ends = [
            kind for kind in running.kinds(job) if kind in {"job.succeeded", "job.failed", "job.cancelled"}
        ]
        assert len(ends) == 1
        assert (record.cause is not None) == (record.state is JobState.FAILED)
        limit = running.control and (await running.row(job))
        assert limit is not None
        most = int(__import__("json").loads(limit["spec"])["recovery"]["max_restarts"])
        assert record.restarts <= most
        attempts = await running.attempts(job)
        assert all(attempt.ended is not None for attempt, _ in attempts)
        if most == 0 and "job.resumed" not in running.kinds(job):
            for (its, _), ran in world.ran.items():
                assert its != job or len(ran) <= 1, "it ran again, and it may not"
