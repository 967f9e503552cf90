"""What the loops know of jobs: their course, attempts and replicas, as frozen records.

After a job was submitted, the columns of its course belong to the loops alone, so a record in memory is
what is stored; only what a person may edit while it waits is read again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from footplate_spec.agent import ExitReport
from footplate_spec.reasons import Cause
from footplate_spec.states import JOB_FINAL, JobState, ReplicaState
from footplate_spec.views import JobResult

from . import dependencies, spending, tables
from .database import Transaction

__all__ = [
    "AttemptRecord",
    "Change",
    "Happening",
    "JobRecord",
    "ReplicaRecord",
    "attempts_of",
    "changes_since",
    "latest_change",
    "mark_removed",
    "open_jobs",
    "queued",
    "read_jobs",
    "save",
    "save_admissions",
    "save_reasons",
    "unremoved",
    "used_since",
]

_j, _a, _r, _e = tables.jobs, tables.attempts, tables.replicas, tables.events
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job's course.

    Parameters
    ----------
    replicas, gpu
        Of the whole gang: the fewest that it needs, and once it was admitted what it was given.
    stopping
        A ``Stop.reason``: why its processes are being ended.
    owed
        Others were stopped to make room for it, and it has not started since.
    alone
        One run of an array, suspended without the others: it is resumed alone, too.
    """

    id: str
    owner: str
    group: str
    spec: str
    priority: str
    place: float
    time_limit: int
    submitted: float
    replicas: int = 1
    gpu: int = 0
    state: JobState = JobState.QUEUED
    stopping: str | None = None
    declared: bool = False
    cluster: str | None = None
    attempt: int = 0
    restarts: int = 0
    owed: bool = False
    alone: bool = False
    started: float | None = None
    ended: float | None = None
    cause: Cause | None = None
    result: JobResult | None = None
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One admission.

    Parameters
    ----------
    price
        What an hour of it costs, at the prices that held when it was admitted.
    """

    id: str
    job: str
    number: int
    cluster: str
    created: float
    gpu: int = 0
    price: float = 0.0
    started: float | None = None
    ended: float | None = None
    outcome: str | None = None
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class ReplicaRecord:
    """One replica of an attempt; its state is that of the execution named here."""

    attempt: str
    role: str
    index: int
    node: str
    flavor: str
    gpus: tuple[int, ...] = ()
    state: ReplicaState = ReplicaState.PENDING
    execution: int = 1
    exit_code: int | None = None
    signal: int | None = None
    cause: Cause | None = None
    message: str = ""
    address: str | None = None
    port: int | None = None
    started: float | None = None
    ended: float | None = None
    log_size: int = 0
    holder: str | None = None
    exit: ExitReport | None = None


@dataclass(frozen=True)
class Happening:
    """An event to record with a change; its subject is the job."""

    kind: str
    data: dict[str, Any] = field(default_factory=dict)
    actor: str | None = None


@dataclass(frozen=True)
class Change:
    """What one decision changes of one job: only records that differ are in it."""

    job: JobRecord
    job_changed: bool = False
    edited: bool = False  # what people edit while a job waits is stored by itself
    new_attempt: AttemptRecord | None = None
    attempt: AttemptRecord | None = None
    new_replicas: tuple[ReplicaRecord, ...] = ()
    replicas: tuple[ReplicaRecord, ...] = ()
    happenings: tuple[Happening, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing would be written."""
        parts = (self.new_attempt, self.attempt, self.new_replicas, self.replicas, self.happenings)
        return not self.job_changed and not any(parts)


def _text(document: Any) -> str | None:
    return None if document is None else document.model_dump_json()


_JOB = (
    "state",
    "replicas",
    "gpu",
    "stopping",
    "declared",
    "cluster",
    "attempt",
    "restarts",
    "owed",
    "alone",
    "started",
    "ended",
)
_NEW_ATTEMPT = ("id", "job", "number", "cluster", "created", "gpu", "price")
_ATTEMPT = ("started", "ended", "outcome")
_REPLICA = (
    "state",
    "execution",
    "exit_code",
    "signal",
    "message",
    "address",
    "port",
    "started",
    "ended",
    "log_size",
    "node",
    "holder",
)
_update_job = (
    update(_j)
    .where(_j.c.id == bindparam("key"))
    .values({name: bindparam(name) for name in (*_JOB, "cause", "result")})
)
_update_attempt = (
    update(_a)
    .where(_a.c.id == bindparam("key"))
    .values({name: bindparam(name) for name in (*_ATTEMPT, "cause")})
)
_update_replica = (
    update(_r)
    .where(
        _r.c.attempt == bindparam("in_attempt"),
        _r.c.role == bindparam("in_role"),
        _r.c.index == bindparam("at_index"),
    )
    .values({name: bindparam(name) for name in (*_REPLICA, "cause", "exit")})
)
_update_reason = update(_j).where(_j.c.id == bindparam("key")).values(reason=bindparam("reason"))


def _job_values(job: JobRecord) -> dict[str, Any]:
    values = {name: getattr(job, name) for name in _JOB}
    return values | {
        "key": job.id,
        "state": job.state.value,
        "cause": _text(job.cause),
        "result": _text(job.result),
    }


def _attempt_values(attempt: AttemptRecord) -> dict[str, Any]:
    values = {name: getattr(attempt, name) for name in _ATTEMPT}
    return values | {"cause": _text(attempt.cause)}


def _replica_values(replica: ReplicaRecord) -> dict[str, Any]:
    values = {name: getattr(replica, name) for name in _REPLICA}
    return values | {
        "state": replica.state.value,
        "cause": _text(replica.cause),
        "exit": _text(replica.exit),
    }


async def save(t: Transaction, changes: Sequence[Change]) -> None:
    """Write changes of several jobs, one statement a table, and record what happened."""
    new_attempts = [c.new_attempt for c in changes if c.new_attempt is not None]
    if new_attempts:
        await t.execute(
            insert(_a),
            [{name: getattr(attempt, name) for name in _NEW_ATTEMPT} for attempt in new_attempts],
        )
    new_replicas = [replica for c in changes for replica in c.new_replicas]
    if new_replicas:
        rows = [
            _replica_values(r)
            | {
                "attempt": r.attempt,
                "role": r.role,
                "index": r.index,
                "flavor": r.flavor,
                "gpus": json.dumps(r.gpus),
            }
            for r in new_replicas
        ]
        await t.execute(insert(_r), rows)
    if jobs := [_job_values(c.job) for c in changes if c.job_changed]:
        await t.execute(_update_job, jobs)
        await dependencies.note_ends(t, {c.job.id: c.job.state for c in changes if c.job_changed})
    for change in changes:
        if change.edited:
            job = change.job
            edited = {"time_limit": job.time_limit, "priority": job.priority, "spec": job.spec}
            await t.execute(update(_j).where(_j.c.id == job.id).values(edited))
    if attempts := [_attempt_values(c.attempt) | {"key": c.attempt.id} for c in changes if c.attempt]:
        await t.execute(_update_attempt, attempts)
        ended = [(c.attempt, c.job.group) for c in changes if c.attempt is not None and _spends(c.attempt)]
        await spending.save_ended(t, [_spent(attempt, group) for attempt, group in ended])
    replicas = [
        _replica_values(r) | {"in_attempt": r.attempt, "in_role": r.role, "at_index": r.index}
        for c in changes
        for r in c.replicas
    ]
    if replicas:
        await t.execute(_update_replica, replicas)
    for change in changes:
        for what in change.happenings:
            t.record(what.kind, change.job.id, actor=what.actor, group=change.job.group, data=what.data)


def _spends(attempt: AttemptRecord) -> bool:
    """Whether it has ended, and used what may have a budget."""
    ran = attempt.started is not None and attempt.ended is not None
    return ran and (attempt.gpu > 0 or attempt.price > 0)


def _spent(attempt: AttemptRecord, group: str) -> spending.Ended:
    assert attempt.started is not None
    assert attempt.ended is not None
    return attempt.id, group, attempt.gpu, attempt.price, attempt.started, attempt.ended


async def save_reasons(t: Transaction, reasons: Mapping[str, str]) -> None:
    """Store the reason of jobs that wait, as JSON by id."""
    if reasons:
        await t.execute(_update_reason, [{"key": job, "reason": text} for job, text in reasons.items()])


async def _still_queued(t: Transaction, specs: Mapping[str, str]) -> set[str]:
    """Those jobs that wait with the very spec that was decided upon."""
    found: set[str] = set()
    ids = sorted(specs)
    for start in range(0, len(ids), _CHUNK):
        statement = select(_j.c.id, _j.c.spec).where(
            _j.c.id.in_(ids[start : start + _CHUNK]), _j.c.state == JobState.QUEUED.value
        )
        found |= {row.id for row in await t.execute(statement) if row.spec == specs[row.id]}
    return found


async def save_admissions(t: Transaction, decided: Mapping[str, tuple[str, Change]]) -> set[str]:
    """Store new attempts of jobs that still wait with the spec that was decided upon; which they are."""
    good = await _still_queued(t, {job: spec for job, (spec, _) in decided.items()})
    await save(t, [change for job, (_, change) in decided.items() if job in good])
    return good


async def mark_removed(t: Transaction, attempts: Collection[str]) -> None:
    """The engine holds nothing of these any more."""
    await t.execute(
        update(_a).where(_a.c.id == bindparam("key")).values(removed=True),
        [{"key": attempt} for attempt in attempts],
    )


async def latest_change(connection: AsyncConnection) -> int:
    """The newest event's number."""
    return int((await connection.execute(select(func.coalesce(func.max(_e.c.seq), 0)))).scalar_one())


async def changes_since(connection: AsyncConnection, seq: int) -> tuple[int, list[tuple[str, str]]]:
    """Kind and subject of every event after ``seq``, and the newest number."""
    statement = select(_e.c.seq, _e.c.kind, _e.c.subject).where(_e.c.seq > seq).order_by(_e.c.seq)
    rows = (await connection.execute(statement)).all()
    return (rows[-1].seq if rows else seq), [(row.kind, row.subject) for row in rows]


_COURSE = [c for c in _j.c if c.name not in {"reason", "result", "idempotency_key", "idempotency_digest"}]


def _job(row: Any) -> JobRecord:
    return JobRecord(
        id=row.id,
        owner=sys.intern(row.owner),  # thousands of jobs that wait have these in common
        group=sys.intern(row.group_path),
        spec=sys.intern(row.spec),
        priority=sys.intern(row.priority),
        replicas=row.replicas,
        gpu=row.gpu,
        place=row.place,
        time_limit=row.time_limit,
        submitted=row.submitted,
        state=JobState(row.state),
        stopping=row.stopping,
        declared=row.declared,
        cluster=row.cluster,
        attempt=row.attempt,
        restarts=row.restarts,
        owed=row.owed,
        alone=row.alone,
        parent=row.parent,
        started=row.started,
        ended=row.ended,
        cause=Cause.model_validate_json(row.cause) if row.cause else None,
    )


async def used_since(connection: AsyncConnection, moment: float) -> list[tuple[str, int, float, float]]:
    """Group, GPUs, begin and end of every attempt that ended after ``moment``."""
    statement = (
        select(_j.c.group_path, _j.c.gpu, _a.c.created, _a.c.ended)
        .join(_j, _j.c.id == _a.c.job)
        .where(_a.c.ended > moment, _j.c.gpu > 0)
    )
    return [tuple(row) for row in await connection.execute(statement)]


async def open_jobs(connection: AsyncConnection) -> list[JobRecord]:
    """Every job that has not ended."""
    living = [state.value for state in JobState if state not in JOB_FINAL]
    rows = await connection.execute(select(*_COURSE).where(_j.c.state.in_(living)))
    return [_job(row) for row in rows]


async def queued(connection: AsyncConnection) -> set[str]:
    """Every job that waits."""
    return set(
        (await connection.execute(select(_j.c.id).where(_j.c.state == JobState.QUEUED.value))).scalars()
    )


async def read_jobs(connection: AsyncConnection, ids: Iterable[str]) -> list[JobRecord]:
    """These jobs, as far as they exist."""
    wanted = sorted(set(ids))
    found: list[JobRecord] = []
    for start in range(0, len(wanted), _CHUNK):
        statement = select(*_COURSE).where(_j.c.id.in_(wanted[start : start + _CHUNK]))
        found += [_job(row) for row in await connection.execute(statement)]
    return found


def _attempt(row: Any) -> AttemptRecord:
    return AttemptRecord(
        id=row.id,
        job=row.job,
        number=row.number,
        cluster=row.cluster,
        created=row.created,
        gpu=row.gpu,
        price=row.price,
        started=row.started,
        ended=row.ended,
        outcome=row.outcome,
        cause=Cause.model_validate_json(row.cause) if row.cause else None,
    )


def _replica(row: Any) -> ReplicaRecord:
    return ReplicaRecord(
        attempt=row.attempt,
        role=row.role,
        index=row.index,
        node=row.node,
        flavor=row.flavor,
        gpus=tuple(json.loads(row.gpus)),
        state=ReplicaState(row.state),
        execution=row.execution,
        exit_code=row.exit_code,
        signal=row.signal,
        cause=Cause.model_validate_json(row.cause) if row.cause else None,
        message=row.message,
        address=row.address,
        port=row.port,
        started=row.started,
        ended=row.ended,
        log_size=row.log_size,
        holder=row.holder,
        exit=ExitReport.model_validate_json(row.exit) if row.exit else None,
    )


async def unremoved(connection: AsyncConnection) -> list[tuple[AttemptRecord, list[ReplicaRecord]]]:
    """Attempts of which the engine may still hold something, with their replicas."""
    return await _with_replicas(connection, _a.c.removed.is_(False))


async def attempts_of(
    connection: AsyncConnection, job: str
) -> list[tuple[AttemptRecord, list[ReplicaRecord]]]:
    """One job's attempts with their replicas."""
    return await _with_replicas(connection, _a.c.job == job)


async def _with_replicas(
    connection: AsyncConnection, condition: Any
) -> list[tuple[AttemptRecord, list[ReplicaRecord]]]:
    rows = await connection.execute(select(_a).where(condition).order_by(_a.c.job, _a.c.number))
    attempts = {row.id: (_attempt(row), list[ReplicaRecord]()) for row in rows}
    statement = select(_r).join(_a, _a.c.id == _r.c.attempt).where(condition)
    for row in await connection.execute(statement):
        attempts[row.attempt][1].append(_replica(row))
    return list(attempts.values())
