"""What people read about one job: its attempts and replicas, its result, where its log stands."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from footplate_spec import (
    REPLICA_FINAL,
    AttemptView,
    Cause,
    JobResult,
    JobView,
    Reason,
    ReplicaState,
    ReplicaView,
)

from . import tables
from .arrays import run_counts
from .jobs import JobRow, summary

__all__ = ["LogPlace", "attempts_of", "job_view", "log_place", "result", "runs_of"]

_a, _r = tables.attempts, tables.replicas


@dataclass(frozen=True)
class LogPlace:
    """One replica's newest execution in one attempt, and whether it may still write.

    Parameters
    ----------
    execution
        The newest one; the logs of those before it are complete.
    ended
        Nothing more comes from this attempt's replica.
    """

    attempt: str
    number: int
    execution: int
    ended: bool


def _cause(text: str | None) -> Cause | None:
    return Cause.model_validate_json(text) if text else None


def _replica(row: Any) -> ReplicaView:
    return ReplicaView(
        role=row.role,
        index=row.index,
        node=row.node,
        gpus=json.loads(row.gpus),
        state=row.state,
        execution=row.execution,
        exit_code=row.exit_code,
        signal=row.signal,
        cause=_cause(row.cause),
        message=row.message,
        started=row.started,
        ended=row.ended,
        log_size=row.log_size,
    )


async def attempts_of(connection: AsyncConnection, job: str) -> list[AttemptView]:
    """A job's attempts in order, each with its replicas by role and index."""
    attempts = {
        row.id: AttemptView(
            id=row.id,
            number=row.number,
            cluster=row.cluster,
            created=row.created,
            started=row.started,
            ended=row.ended,
            outcome=row.outcome,
            cause=_cause(row.cause),
        )
        for row in await connection.execute(select(_a).where(_a.c.job == job).order_by(_a.c.number))
    }
    replicas = (
        select(_r).join(_a, _a.c.id == _r.c.attempt).where(_a.c.job == job).order_by(_r.c.role, _r.c.index)
    )
    for row in await connection.execute(replicas):
        attempts[row.attempt].replicas.append(_replica(row))
    return list(attempts.values())


async def job_view(connection: AsyncConnection, row: JobRow, reason: Reason | None = None) -> JobView:
    """Everything about a job that its group may see."""
    return JobView.model_validate(
        {
            **summary(row, reason, await runs_of(connection, row)).model_dump(),
            "spec": json.loads(row["spec"]),
            "time_limit": row["time_limit"],
            "restarts": row["restarts"],
            "attempts": await attempts_of(connection, row["id"]) if row["attempt"] else [],
        }
    )


async def runs_of(connection: AsyncConnection, row: JobRow) -> dict[str, int] | None:
    """The runs of an array by state; None for any other job."""
    return (await run_counts(connection, [row["id"]]))[row["id"]] if row["array_size"] else None


async def result(connection: AsyncConnection, row: JobRow) -> JobResult | None:
    """What a job left behind; None while there is nothing."""
    if row["result"]:
        return JobResult.model_validate_json(row["result"])
    return None


async def log_place(
    connection: AsyncConnection, job: str, role: str, index: int, *, least: int = 0
) -> LogPlace | None:
    """The first attempt of a job numbered ``least`` or more that has this replica."""
    statement = (
        select(_a.c.id, _a.c.number, _a.c.ended, _r.c.execution, _r.c.state)
        .join(_r, _r.c.attempt == _a.c.id)
        .where(_a.c.job == job, _a.c.number >= least, _r.c.role == role, _r.c.index == index)
        .order_by(_a.c.number)
        .limit(1)
    )
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        return None
    over = row.ended is not None or ReplicaState(row.state) in REPLICA_FINAL
    return LogPlace(row.id, row.number, row.execution, over)


async def newest_attempt(connection: AsyncConnection, job: str) -> int:
    """The number of a job's newest attempt; 0 before the first."""
    statement = select(func.max(_a.c.number)).where(_a.c.job == job)
    return int((await connection.execute(statement)).scalar_one() or 0)


async def attempt_ids(connection: AsyncConnection) -> dict[str, float | None]:
    """Every attempt, with when it ended."""
    return {row.id: row.ended for row in await connection.execute(select(_a.c.id, _a.c.ended))}
