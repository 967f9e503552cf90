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
from footplate_hub.control.course import admit
from footplate_hub.control.dispatcher import CHUNK
from footplate_hub.control.life import Life, Turn
from footplate_hub.control.specs import read_spec
from footplate_hub.store import Database, attempts, jobs, tables
from footplate_hub.store.migrations import upgrade
from footplate_hub.tokens import ReplicaTokens
from footplate_spec import JobSpec
from support.control import FakeEngine, machine, rig

ADMITTED = 20_000
WAITING = 60_000
INSERTED = 1000  # in one transaction


def admissions() -> Iterator[Result]:
    """Jobs a second that are admitted and stored, each with its attempt, replica and event.

    First the writing alone, of what is decided already; then all of it: the pass, the writing, what the
    service keeps of each, and an engine that is told of each and does nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        rate = asyncio.run(_write(Path(folder)))
    yield Result("queue_admissions_written", rate, "jobs/s", "at least 10,000/s", rate >= 10_000)
    with tempfile.TemporaryDirectory() as folder:
        rate = asyncio.run(_admit(Path(folder)))
    yield Result("queue_admissions_in_all", rate, "jobs/s", "", None)


async def _write(folder: Path) -> float:
    url = f"sqlite+aiosqlite:///{folder / 'hub.db'}"
    await upgrade(url)
    database = Database(url)
    await database.start()
    await _insert(database, [JobSpec(command=["true"], group="research")] * ADMITTED)
    async with database.read() as connection:
        ids = (await connection.execute(select(tables.jobs.c.id))).scalars().all()
        rows = await attempts.read_jobs(connection, ids)
    decided = {}
    for row in rows:
        turn = Turn(Life(row), read_spec(row.spec), time.time())
        admit(turn, "local", [("worker", 0, "n1", "cpu", ())], declared=False)
        decided[row.id] = (row.spec, turn.change)
    order = list(decided)
    began = time.perf_counter()
    for start in range(0, ADMITTED, CHUNK):
        chunk = {job: decided[job] for job in order[start : start + CHUNK]}
        good = await database.write(lambda t, chunk=chunk: attempts.save_admissions(t, chunk))
        assert len(good) == len(chunk)
    rate = ADMITTED / (time.perf_counter() - began)
    await database.close()
    return rate


async def _admit(folder: Path) -> float:
    async with rig(folder / "data", machine(cpu=10**9, memory=2**60)) as one:
        await _insert(one.database, [JobSpec(command=["true"], group="research")] * ADMITTED)
        began = time.perf_counter()
        one.control.wake()
        while await _waiting(one.database):
            await asyncio.sleep(0.1)
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
    for start in range(0, len(specs), INSERTED):
        new = [jobs.NewJob(spec, 3600) for spec in specs[start : start + INSERTED]]
        await database.write(lambda t, new=new: jobs.insert_jobs(t, "ada", new))


async def _waiting(database: Database) -> int:
    count = select(func.count()).select_from(tables.jobs).where(tables.jobs.c.state == "queued")
    async with database.read() as connection:
        return int((await connection.execute(count)).scalar_one())


BENCHES = (admissions, load)
