"""The loops under test: a fake engine, agents that a test speaks for, and a whole service as a process.

`FakeEngine` keeps the promises of `footplate_hub.engines.base` with nothing behind it, and passes the same
contract tests as the local engine. ``python -m support.control DATA PORT [SETTINGS]`` is the real service
with the real loops and the real local engine; only JupyterHub is a stand-in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from footplate_hub.app import create_app
from footplate_hub.control import Control
from footplate_hub.engines import Attempt, Engine, EngineError, Observation
from footplate_hub.settings import Settings
from footplate_hub.store import Database, attempts, jobs
from footplate_hub.store.attempts import AttemptRecord, JobRecord, ReplicaRecord
from footplate_hub.store.migrations import upgrade
from footplate_hub.tokens import ReplicaId, ReplicaTokens
from footplate_spec import Desired, Event, JobSpec, Node, Report
from support.service import ADA, PREFIX, ROOT, FakeIdentity

__all__ = ["FakeEngine", "Rig", "ServiceProcess", "eventually", "rig", "service_process"]


async def eventually(condition: Callable[[], Any], patience: float = 20.0) -> Any:
    """What a condition, plain or awaited, gives once it holds."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, "did not happen"
        await asyncio.sleep(0.005)


class FakeEngine:
    """Keepers are names in a set."""

    def __init__(self, *nodes: Node) -> None:
        self._nodes = list(nodes)
        self.keepers: dict[str, set[str]] = {}  # attempt -> "role-index"
        self.applied: list[Attempt] = []
        self.deleted: list[str] = []
        self.checkpoints: set[str] = set()  # jobs that left some
        self.refuse: EngineError | None = None
        self.refuse_delete: EngineError | None = None
        self._seen: asyncio.Queue[Observation] = asyncio.Queue()

    async def start(self) -> None:
        """Tell what is there."""
        self._seen = asyncio.Queue()
        for attempt, keepers in self.keepers.items():
            for keeper in keepers:
                self._see(attempt, keeper, True)

    async def stop(self) -> None:
        """Nothing to let go of."""

    async def nodes(self) -> Sequence[Node]:
        return self._nodes

    async def apply(self, attempt: Attempt) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.applied.append(attempt)
        keepers = self.keepers.setdefault(attempt.id, set())
        keepers |= {f"{replica.role}-{replica.index}" for replica in attempt.replicas}

    async def delete(self, attempt: Attempt, *, patience: float = 10.0) -> None:
        if self.refuse_delete is not None:
            raise self.refuse_delete
        self.deleted.append(attempt.id)
        for replica in attempt.replicas:
            keeper = f"{replica.role}-{replica.index}"
            if keeper in self.keepers.get(attempt.id, set()):
                self.die(attempt.id, keeper)
        if not self.keepers.get(attempt.id):
            self.keepers.pop(attempt.id, None)

    async def kept(self) -> list[str]:
        return sorted(self.checkpoints)

    async def forget(self, job: str, owner: str) -> None:
        self.checkpoints.discard(job)

    async def gone(self, holder: str, node: str) -> bool:
        return False

    def fence(self, holder: str) -> None:
        pass

    async def observe(self) -> AsyncIterator[Observation]:
        while True:
            yield await self._seen.get()

    def die(self, attempt: str, keeper: str) -> None:
        """A keeper is gone."""
        self.keepers[attempt].discard(keeper)
        self._see(attempt, keeper, False)

    def _see(self, attempt: str, keeper: str, alive: bool) -> None:
        role, _, index = keeper.rpartition("-")
        self._seen.put_nowait(Observation(attempt, role, int(index), alive))


@dataclass
class Rig:
    """Control over a database, and the agents' side of it in a test's hands."""

    settings: Settings
    database: Database
    control: Control
    engine: Any
    events: list[Event]
    tokens: ReplicaTokens

    async def submit(self, owner: str = "ada", **fields: Any) -> str:
        """Queue a job as the API does."""
        [job] = await self.submit_many(1, owner, **fields)
        return job

    async def submit_many(self, count: int, owner: str = "ada", **fields: Any) -> list[str]:
        """Queue equal jobs in one transaction."""
        spec = JobSpec.model_validate({"command": ["true"], "group": "research", **fields})
        limit = spec.time_limit or 3600
        new = [jobs.NewJob(spec, limit) for _ in range(count)]
        ids = await self.database.write(lambda t: jobs.insert_jobs(t, owner, new))
        self.control.wake()
        return ids

    async def job(self, job: str) -> JobRecord:
        """A job as stored."""
        async with self.database.read() as connection:
            [record] = await attempts.read_jobs(connection, [job])
        return record

    async def row(self, job: str) -> Any:
        """Its row."""
        async with self.database.read() as connection:
            return await jobs.find(connection, job)

    async def attempts(self, job: str) -> list[tuple[AttemptRecord, list[ReplicaRecord]]]:
        """Its attempts as stored."""
        async with self.database.read() as connection:
            return await attempts.attempts_of(connection, job)

    async def until(self, job: str, *states: str) -> JobRecord:
        """Wait until a job's stored state is one of these."""

        async def there() -> JobRecord | None:
            record = await self.job(job)
            return record if record.state.value in states else None

        found: JobRecord = await eventually(there)
        return found

    async def say(self, attempt: str, state: str, key: str = "worker-0", **fields: Any) -> Desired:
        """Report for a replica; ``exit_code`` and the like make an exit."""
        # The store shows an admission before the engine is asked, and before that there is no agent.
        await eventually(lambda: any(applied.id == attempt for applied in self.engine.applied))
        role, _, index = key.rpartition("-")
        execution = fields.pop("execution", 1)
        if state == "exited":
            told = {"execution": execution, "started": time.time() - 1, "ended": time.time(), **fields}
            fields = {"exit": told}
        report = Report.model_validate({"execution": execution, "state": state, **fields})
        return await self.control.report(ReplicaId(attempt, role, int(index)), report)

    async def wants(self, attempt: str, key: str = "worker-0", tag: str = "", wait: float = 0) -> Desired:
        """What is wanted of a replica."""
        role, _, index = key.rpartition("-")
        return await self.control.desired(ReplicaId(attempt, role, int(index)), tag, wait)

    def kinds(self, job: str) -> list[str]:
        """Kinds of a job's events so far, in order."""
        return [event.kind for event in self.events if event.subject == job]

    async def restart(self) -> None:
        """A new service on the same database and engine, as after SIGKILL: nothing is said to the old one."""
        tasks = [
            self.control._keeping,
            *self.control._loops,
            *self.control._reconciler._tasks,
            self.control._recorder._task,
        ]
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)
        await self.control._lock.drop()
        await self.database.close()
        self.database = Database(self.settings.database_url, on_events=self.events.extend)
        await self.database.start()
        self.control = Control(self.settings, self.database, self.tokens, {"local": self.engine})
        await self.control.start()


def machine(name: str = "n1", cpu: int = 4000, gpu: int = 0, **fields: Any) -> Node:
    """A node of the fake engine."""
    flavor = "gpu" if gpu else "cpu"
    return Node.model_validate(
        {
            "cluster": "local",
            "name": name,
            "flavor": flavor,
            "cpu": cpu,
            "memory": 2**36,
            "gpu": gpu,
            **fields,
        }
    )


@contextlib.asynccontextmanager
async def rig(
    data: Path, *nodes: Node, engine: Engine | None = None, url: str | None = None, **settings: Any
) -> AsyncIterator[Rig]:
    """Control with an engine, on SQLite or on the database at ``url``."""
    data.mkdir(mode=0o700, exist_ok=True)
    made = Settings(data=data, database=url, **{"limits": {"disk_free": 0}, **settings})
    await upgrade(made.database_url)
    events: list[Event] = []
    database = Database(made.database_url, on_events=events.extend)
    await database.start()
    tokens = ReplicaTokens(data / "replicas.key")
    used = engine or FakeEngine(*(nodes or (machine(),)))
    control = Control(made, database, tokens, {"local": used})
    running = Rig(made, database, control, used, events, tokens)
    await control.start()
    try:
        yield running
    finally:
        await running.control.stop()
        await running.database.close()


# A service of its own process, with real keepers


@dataclass
class ServiceProcess:
    """The whole service, which a test may kill and start again."""

    data: Path
    port: int
    settings: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}{PREFIX}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.data.parent / "service.log").open("ab") as output:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "support.control",
                    str(self.data),
                    str(self.port),
                    json.dumps(self.settings),
                ],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}healthz", trust_env=False).status_code == 200:
                    return
            log = (self.data.parent / "service.log").read_text()[-2000:]
            assert self.process.poll() is None, log
            assert time.monotonic() < deadline, log
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """SIGTERM, as its supervisor does."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
            self.process = None

    def client(self, person: str = "ada") -> httpx.AsyncClient:
        """A person's."""
        return httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"token token-{person}"},
            timeout=20,
            trust_env=False,
            transport=httpx.AsyncHTTPTransport(retries=20),
        )


@contextlib.contextmanager
def service_process(folder: Path, **settings: Any) -> Iterator[ServiceProcess]:
    """A service on a free port; at the end, all its jobs are ended too."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    data = folder / "data"
    data.mkdir(mode=0o700)
    running = ServiceProcess(data, port, {"limits": {"disk_free": 0}, **settings})
    running.start()
    try:
        yield running
    finally:
        if running.process is None:
            running.start()
        with httpx.Client(
            base_url=running.url, headers={"Authorization": f"token token-{ADA.name}"}, trust_env=False
        ) as client:
            for state in ("queued", "starting", "running", "suspended"):
                for job in client.get("jobs", params={"state": state, "limit": 500}).json()["items"]:
                    client.post(f"jobs/{job['id']}/cancel")
            deadline = time.monotonic() + 20
            while any((data / "replicas").iterdir()) and time.monotonic() < deadline:
                time.sleep(0.05)
        running.stop()


def main() -> None:
    """Be the service's process."""
    data, port, extra = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    settings = Settings(data=data, url=f"http://127.0.0.1:{port}{PREFIX}", bind_port=port, **extra)
    app = create_app(settings, FakeIdentity(ADA, ROOT))
    uvicorn.run(
        app, host="127.0.0.1", port=port, loop="uvloop", http="httptools", ws="none", log_level="warning",
        access_log=False, timeout_graceful_shutdown=2,
    )  # fmt: skip


if __name__ == "__main__":
    main()
