"""The queue and the store: admissions written to SQLite, and 60,000 waiting jobs found again at a start."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import func, select

from bench.report import Result
from footplate_hub.control import Control
from footplate_hub.store import Database, jobs, tables
from footplate_hub.store.migrations import upgrade
from footplate_hub.tokens import ReplicaTokens
from footplate_spec import JobSpec
from support.control import FakeEngine, machine, rig

ADMITTED = 20_000
WAITING = 60_000
CHUNK = 1000


def admissions() -> Iterator[Result]:
    """Jobs a second that are admitted and stored, each with its attempt, replica and event."""
    with tempfile.TemporaryDirectory() as folder:
        rate = asyncio.run(_admit(Path(folder)))
    yield Result("queue_admissions_written", rate, "jobs/s", "at least 10,000/s", rate >= 10_000)


async def _admit(folder: Path) -> float:
    async with rig(folder / "data", machine(cpu=10**9, memory=2**60)) as one:
        await _insert(one.database, [JobSpec(command=["true"], group="research")] * ADMITTED)
        began = time.perf_counter()
        one.control.wake()
        while await _waiting(one.database):
            await asyncio.sleep(0.01)
        return ADMITTED / (time.perf_counter() - began)


def load() -> Iterator[Result]:
    """Seconds until a service that starts has every waiting job in hand."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = asyncio.run(_load(Path(folder)))
    yield Result("queue_snapshot_load", seconds, "s", "at most 3 s", seconds <= 3)


async def _load(folder: Path) -> float:
    rng = random.Random(5)
    forms = [
        {
            "roles": [
                {
                    "replicas": rng.choice((1, 1, 1, 2, 4)),
                    "resources": {"cpu": cpu, "memory": 2**30 * n, "gpu": rng.choice((1, 2, 4, 8))},
                }
            ],
            "exclude": {"nodes": [f"n{rng.randrange(50)}"]} if rng.random() < 0.2 else {},
        }
        for n in range(1, 801)
        for cpu in (1, 2, 4)
    ]
    specs = [
        JobSpec.model_validate(
            {
                "command": ["python", "train.py", "--seed", str(number)],
                "group": f"g{rng.randrange(500)}",
                **rng.choice(forms),
            }
        )
        for number in range(WAITING)
    ]
    async with rig(folder / "data", machine(cpu=1)) as one:
        await _insert(one.database, specs)
        settings = one.settings
    await upgrade(settings.database_url)
    database = Database(settings.database_url)
    await database.start()
    control = Control(settings, database, ReplicaTokens(settings.data / "k"), {"local": FakeEngine()})
    began = time.perf_counter()
    await control.start()
    seconds = time.perf_counter() - began
    await control.stop()
    await database.close()
    return seconds


async def _insert(database: Database, specs: list[JobSpec]) -> None:
    for start in range(0, len(specs), CHUNK):
        new = [jobs.NewJob(spec, 3600) for spec in specs[start : start + CHUNK]]
        await database.write(lambda t, new=new: jobs.insert_jobs(t, "ada", new))


async def _waiting(database: Database) -> int:
    count = select(func.count()).select_from(tables.jobs).where(tables.jobs.c.state == "queued")
    async with database.read() as connection:
        return int((await connection.execute(count)).scalar_one())


BENCHES = (admissions, load)
