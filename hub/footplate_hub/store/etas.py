"""ETA ranges that were given, and what came true: kept as long as their jobs are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from footplate_spec import JobState

from . import tables
from .database import Transaction

__all__ = ["Ended", "Given", "count", "ended_since", "save_given", "settle", "settled", "started_since_given"]

_e, _j, _a = tables.etas, tables.jobs, tables.attempts
_ENDED_BY_THEMSELVES = (JobState.SUCCEEDED.value, JobState.FAILED.value)


@dataclass(frozen=True, slots=True)
class Given:
    """A range that was given at a time; ``started``: when the job then did."""

    job: str
    given: float
    low: float
    middle: float
    high: float
    basis: str
    started: float | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How long a job ran, of what its limit allowed."""

    ended: float
    group: str
    owner: str
    name: str
    time_limit: int
    ran: float


async def save_given(t: Transaction, given: Sequence[Given]) -> None:
    """Add ranges; those of jobs that are gone meanwhile are left out."""
    jobs = {row.job for row in given}
    known = set((await t.execute(select(_j.c.id).where(_j.c.id.in_(jobs)))).scalars())
    rows = [
        {
            "job": row.job,
            "given": row.given,
            "low": row.low,
            "middle": row.middle,
            "high": row.high,
            "basis": row.basis,
        }
        for row in given
        if row.job in known
    ]
    if rows:
        await t.execute(insert(_e), rows)


async def started_since_given(connection: AsyncConnection) -> dict[int, Given]:
    """Open ranges whose jobs have started since, by their row, first started first."""
    start = func.min(_a.c.created).label("started")
    rows = await connection.execute(
        select(_e.c.id, _e.c.job, _e.c.given, _e.c.low, _e.c.middle, _e.c.high, _e.c.basis, start)
        .select_from(_e.join(_a, (_a.c.job == _e.c.job) & (_a.c.created >= _e.c.given)))
        .where(_e.c.started.is_(None))
        .group_by(_e.c.id)
        .order_by(start)
    )
    return {row.id: _given(row) for row in rows}


async def settle(t: Transaction, started: Mapping[int, float]) -> None:
    """Write what came true."""
    rows = [{"row": id_, "came": time} for id_, time in started.items()]
    if rows:
        await t.execute(update(_e).where(_e.c.id == bindparam("row")).values(started=bindparam("came")), rows)


async def settled(connection: AsyncConnection, limit: int) -> list[Given]:
    """The last that came true, first come first."""
    rows = await connection.execute(
        select(_e).where(_e.c.started.is_not(None)).order_by(_e.c.started.desc(), _e.c.id.desc()).limit(limit)
    )
    return [_given(row) for row in rows][::-1]


async def count(connection: AsyncConnection) -> tuple[int, int]:
    """Ranges that are kept, and those of them whose job still waits."""
    given = (await connection.execute(select(func.count()).select_from(_e))).scalar_one()
    still = select(func.count()).select_from(_e.join(_j, _j.c.id == _e.c.job))
    open_ = await connection.execute(still.where(_e.c.started.is_(None), _j.c.ended.is_(None)))
    return given, open_.scalar_one()


async def ended_since(connection: AsyncConnection, moment: float, limit: int) -> list[Ended]:
    """Jobs that ended by themselves, or by their limit, after a time; the last ones, first ended first."""
    rows = await connection.execute(
        select(_j.c.ended, _j.c.group_path, _j.c.owner, _j.c.name, _j.c.time_limit, _a.c.started)
        .select_from(_j.join(_a, (_a.c.job == _j.c.id) & (_a.c.number == _j.c.attempt)))
        .where(_j.c.ended > moment, _j.c.state.in_(_ENDED_BY_THEMSELVES), _a.c.started.is_not(None))
        .order_by(_j.c.ended.desc())
        .limit(limit)
    )
    found = [
        Ended(row.ended, row.group_path, row.owner, row.name, row.time_limit, row.ended - row.started)
        for row in rows
    ]
    return found[::-1]


def _given(row: object) -> Given:
    return Given(*(getattr(row, name) for name in Given.__slots__))
