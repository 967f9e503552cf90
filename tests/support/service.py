"""The real service over real HTTP, in the test's own event loop; people and loops are stand-ins.

`FakeControl` plays the loops: a test says what happens to a job, and it is written as the loops would
write it. `FakeIdentity` plays JupyterHub: a person's token is ``token-<name>``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from sqlalchemy import insert, select, update

from footplate_hub.app import create_app
from footplate_hub.control import Control, Refused, ReplicaContext
from footplate_hub.control.advice import Advice
from footplate_hub.control.board import Board
from footplate_hub.control.foresight import Foresight
from footplate_hub.control.live_groups import LiveGroups
from footplate_hub.control.live_policies import LivePolicies
from footplate_hub.control.maintenance import Maintenance
from footplate_hub.identity import IdentityError, Login, Person
from footplate_hub.queue.model import Workload
from footplate_hub.rooms import Rooms
from footplate_hub.settings import Settings
from footplate_hub.store import Database, Transaction, tables
from footplate_hub.store.blocks import Blocks
from footplate_hub.tokens import ReplicaId, ReplicaTokens
from footplate_spec import (
    Desired,
    Eta,
    EtaAccuracy,
    Hold,
    JobSpec,
    Node,
    QuotaUse,
    Reason,
    ReasonCode,
    Report,
)

__all__ = [
    "ADA",
    "BOB",
    "EVE",
    "KAY",
    "LEA",
    "ROOT",
    "FakeControl",
    "FakeIdentity",
    "Service",
    "digest_of",
    "run_service",
]

ADA = Person("ada", ("research/vision",))
BOB = Person("bob", ("research/vision",))
EVE = Person("eve", ("sales",))
KAY = Person("kay", ("research/vision", "sales"))
ROOT = Person("root", ("ops",), admin=True)
LEA = Person("lea", ("ops",), administers=("research",))
LOOKER = Person("looker", ("research/vision",), may_submit=False)
NODE = Node(cluster="local", name="n1", flavor="cpu", cpu=4000, memory=2**33)
PREFIX = "/services/footplate/"


def digest_of(data: bytes) -> str:
    """The digest of these bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class FakeIdentity:
    """People by the tokens of this test."""

    def __init__(self, *people: Person) -> None:
        self.people = {f"token-{person.name}": person for person in people}
        self.away = False

    async def person(self, token: str) -> Person:
        if self.away:
            raise IdentityError(503, "JupyterHub does not answer; try again in a moment")
        if token not in self.people:
            raise IdentityError(401, "the token is not one that JupyterHub knows; log in again")
        return self.people[token]

    def login(self, next_path: str) -> Login:
        self.next_path = next_path
        return Login("/hub/api/oauth2/authorize?client_id=x&state=s1", "s1")

    async def finish_login(self, code: str, state: str) -> tuple[str, str]:
        return f"token-{code}", self.next_path


class FakeMaintenance(Maintenance):
    """One node, and no holds but those of this test."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], Hold] = {}

    async def block_node(self, cluster: str, name: str, why: str, actor: str, *, evict: bool = True) -> Node:
        if name != "n1":
            raise Refused(f"there is no node {cluster}/{name}")
        return NODE.model_copy(update={"blocked": why, "draining": not evict})

    async def unblock_node(self, cluster: str, name: str, actor: str) -> Node:
        return NODE

    async def block_address(self, address: str, why: str, actor: str) -> None:
        """Accepted."""

    async def unblock_address(self, address: str, actor: str) -> None:
        """Accepted."""

    async def hold(self, kind: Any, name: str, why: str, actor: str) -> None:
        self.held[kind, name] = Hold(kind=kind, name=name, why=why, by=actor, since=datetime.now(UTC))

    async def release(self, kind: Any, name: str, actor: str) -> None:
        if self.held.pop((kind, name), None) is None:
            raise Refused(f"{kind} {name} is not held.")

    async def holds(self) -> list[Hold]:
        return list(self.held.values())


class FakeForesight(Foresight):
    """What a test says came true."""

    def __init__(self) -> None:
        self.told = EtaAccuracy()

    async def accuracy(self) -> EtaAccuracy:
        return self.told

    async def prospect(self, workload: Workload) -> Eta | None:
        return None


class FakeControl(Control):
    """The loops, moved by the test."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database: Database | None = None
        self.woken = 0
        self.line: list[str] = []
        self.reasons: dict[str, Reason] = {}
        self.kept_jobs: set[str] = set()
        self.reports: list[tuple[ReplicaId, Report]] = []
        self.maintenance = FakeMaintenance()
        self.leading, self.lost = True, False
        self.groups = LiveGroups(settings)
        self.policies = LivePolicies(settings)
        self.etas: dict[str, Eta] = {}
        self.foresight = FakeForesight()
        board = Board(settings)
        board.set_nodes(self.nodes(), Blocks())
        self._board = board
        self.advice = Advice(settings, board)

    async def start(self) -> None:
        """Nothing runs by itself."""

    async def stop(self) -> None:
        """Nothing to stop."""

    def forget(self, owner: str, jobs: Collection[str]) -> None:
        self.kept_jobs -= set(jobs)

    async def kept(self) -> set[str]:
        return set(self.kept_jobs)

    def wake(self) -> None:
        self.woken += 1

    def reason(self, job: str) -> Reason | None:
        return self.reasons.get(job)

    def position(self, job: str) -> tuple[int, list[str]] | None:
        if job not in self.line:
            return None
        place = self.line.index(job)
        return place + 1, self.line[:place]

    def eta(self, job: str) -> Eta | None:
        return self.etas.get(job)

    def counts(self) -> tuple[int, Counter[str]]:
        return 0, Counter(reason.code.value for reason in self.reasons.values())

    async def _set(
        self, job: str, kind: str, allowed: Collection[str], actor: str | None, **values: Any
    ) -> None:
        assert self.database is not None

        async def unit(t: Transaction) -> None:
            row = (await t.execute(select(tables.jobs).where(tables.jobs.c.id == job))).mappings().one()
            if row["state"] not in allowed:
                raise Refused(f"{job} is {row['state']}")
            await t.execute(update(tables.jobs).where(tables.jobs.c.id == job).values(**values))
            t.record(kind, job, actor=actor, group=row["group_path"])

        await self.database.write(unit)

    def _regroup(self) -> None:
        self._board.set_groups(self.groups.all.values())
        self._board.set_policies(self.policies.priorities.priorities, self.policies.clusters)

    async def cancel(self, job: str, actor: str) -> None:
        await self._set(
            job,
            "job.cancelled",
            {"queued", "starting", "running", "suspended"},
            actor,
            state="cancelled",
            ended=self.now(),
        )

    async def suspend(self, job: str, actor: str) -> None:
        await self._set(job, "job.suspended", {"queued", "running"}, actor, state="suspended")

    async def resume(self, job: str, actor: str) -> None:
        await self._set(job, "job.resumed", {"suspended"}, actor, state="queued")

    async def extend(self, job: str, time_limit: int, actor: str) -> None:
        await self._set(job, "job.extended", {"running", "starting"}, actor, time_limit=time_limit)

    async def reprioritise(self, job: str, priority: str, actor: str) -> None:
        await self._set(job, "job.edited", {"running", "starting"}, actor, priority=priority)

    def now(self) -> float:
        assert self.database is not None
        return self.database._clock()

    def nodes(self) -> list[Node]:
        return [NODE]

    def quota_use(self, groups: Collection[str]) -> list[QuotaUse]:
        return [QuotaUse(group=group, cluster="local", flavor="cpu") for group in groups]

    async def identify(self, replica: ReplicaId) -> ReplicaContext | None:
        assert self.database is not None
        a, j, r = tables.attempts, tables.jobs, tables.replicas
        statement = (
            select(a.c.number, a.c.ended, j.c.id, j.c.owner, j.c.group_path, j.c.spec, r.c.execution)
            .join(j, j.c.id == a.c.job)
            .join(r, r.c.attempt == a.c.id)
            .where(a.c.id == replica.attempt, r.c.role == replica.role, r.c.index == replica.index)
        )
        async with self.database.read() as connection:
            row = (await connection.execute(statement)).one_or_none()
        if row is None or row.ended is not None:
            return None
        spec = JobSpec.model_validate_json(row.spec)
        return ReplicaContext(row.id, row.owner, row.group_path, row.number, row.execution, spec, False)

    async def report(self, replica: ReplicaId, report: Report) -> Desired:
        self.reports.append((replica, report))
        return Desired(tag="t", execution=report.execution)

    async def desired(self, replica: ReplicaId, tag: str, wait: float) -> Desired:
        return Desired(tag="t", execution=1)

    def hang_up(self) -> None:
        pass  # nobody is kept waiting

    # What a test lets happen.

    async def place(self, job: str, *, role: str = "worker", replicas: int = 1, number: int = 1) -> str:
        """Admit a job: an attempt with its replicas, running."""
        assert self.database is not None
        attempt = f"{job}-a{number}"

        async def unit(t: Transaction) -> None:
            await t.execute(
                insert(tables.attempts).values(
                    id=attempt, job=job, number=number, cluster="local", created=t.now, removed=False
                )
            )
            for index in range(replicas):
                await t.execute(
                    insert(tables.replicas).values(
                        attempt=attempt,
                        role=role,
                        index=index,
                        node="n1",
                        flavor="cpu",
                        gpus="[]",
                        state="running",
                        execution=1,
                        message="",
                        log_size=0,
                    )
                )

        await self.database.write(unit)
        await self._set(
            job, "job.started", {"queued", "running", "starting"}, None, state="running", attempt=number
        )
        return attempt

    async def end_attempt(self, attempt: str, state: str = "succeeded") -> None:
        """End an attempt and its replicas."""
        assert self.database is not None

        async def unit(t: Transaction) -> None:
            await t.execute(
                update(tables.attempts)
                .where(tables.attempts.c.id == attempt)
                .values(ended=t.now, removed=True)
            )
            await t.execute(
                update(tables.replicas).where(tables.replicas.c.attempt == attempt).values(state=state)
            )

        await self.database.write(unit)

    async def finish(self, job: str, state: str = "succeeded", *, number: int = 1, **values: Any) -> None:
        """End a job with its attempt."""
        await self.end_attempt(f"{job}-a{number}", state if state != "cancelled" else "stopped")
        await self._set(
            job, f"job.{state}", {"running", "starting"}, None, state=state, ended=self.now(), **values
        )

    async def execution(self, attempt: str, number: int, *, role: str = "worker", index: int = 0) -> None:
        """Let a replica start again in its place."""
        assert self.database is not None
        r = tables.replicas
        where = (r.c.attempt == attempt, r.c.role == role, r.c.index == index)

        async def unit(t: Transaction) -> None:
            await t.execute(update(r).where(*where).values(execution=number, state="running"))
            t.record("replica.restarted", attempt.rpartition("-a")[0])

        await self.database.write(unit)


@dataclass
class Service:
    """A running service, and how people reach it."""

    url: str
    rooms: Rooms
    control: FakeControl
    identity: FakeIdentity
    server: uvicorn.Server
    _clients: list[httpx.AsyncClient] = field(default_factory=list)

    def as_(self, person: Person | None, **headers: str) -> httpx.AsyncClient:
        """A client with a person's token; None: nobody's."""
        if person is not None:
            headers["Authorization"] = f"token token-{person.name}"
        client = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20, trust_env=False)
        self._clients.append(client)
        return client

    def as_replica(self, attempt: str, role: str = "worker", index: int = 0) -> httpx.AsyncClient:
        """A client with a replica's token."""
        token = self.rooms.tokens.mint(ReplicaId(attempt, role, index))
        client = httpx.AsyncClient(
            base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=20, trust_env=False
        )
        self._clients.append(client)
        return client

    async def submit(self, person: Person = ADA, **fields: Any) -> str:
        """Queue a job of a person; its id."""
        answer = await self.as_(person).post("jobs", json={"command": ["true"], **fields})
        assert answer.status_code == 201, answer.text
        job = answer.json()["id"]
        assert isinstance(job, str)
        return job

    async def store(self, person: Person, data: bytes) -> str:
        """Store a blob of a person; its digest."""
        digest = digest_of(data)
        answer = await self.as_(person).put(
            f"blobs/{digest}", content=data, headers={"X-Blob-Size": str(len(data))}
        )
        assert answer.status_code == 201, answer.text
        return digest

    async def store_tree(self, person: Person, files: dict[str, bytes]) -> str:
        """Store a folder of a person; its tree's digest."""
        listed = []
        for path, data in sorted(files.items()):
            listed.append({"path": path, "size": len(data), "digest": await self.store(person, data)})
        return await self.store(person, json.dumps({"kind": "tree/1", "files": listed}).encode())


@contextlib.asynccontextmanager
async def run_service(
    data: Path, *, people: Collection[Person] = (ADA, BOB, EVE, ROOT, LOOKER, LEA), **settings: Any
) -> AsyncIterator[Service]:
    """The service on a free port, until the block ends."""
    data.mkdir(mode=0o700, exist_ok=True)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    url = f"http://127.0.0.1:{port}{PREFIX}"
    made = Settings(data=data, url=url, bind_port=port, **settings)
    identity, control = FakeIdentity(*people), FakeControl(made)
    app = create_app(made, identity, control)
    rooms: Rooms = app.state.rooms
    control.database = rooms.database
    control.groups = LiveGroups(made, rooms.database)
    control.policies = LivePolicies(made, rooms.database, control._regroup)
    server = uvicorn.Server(
        uvicorn.Config(app, http="httptools", ws="none", log_level="warning", timeout_graceful_shutdown=2)
    )
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        if task.done():
            task.result()
            raise RuntimeError("the service did not start")
        await asyncio.sleep(0.005)
    service = Service(url, rooms, control, identity, server)
    try:
        yield service
    finally:
        rooms.bus.close()
        server.should_exit = True
        for client in service._clients:
            await client.aclose()
        await task
        listening.close()


def waiting(code: ReasonCode, message: str) -> Reason:
    """A reason."""
    return Reason(code=code, message=message)


def minted(tokens: ReplicaTokens, attempt: str) -> str:
    """A token of an attempt's first worker."""
    return tokens.mint(ReplicaId(attempt, "worker", 0))
