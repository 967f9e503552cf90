"""Arrays: one row that makes its runs as there is use for them, and counts how they end."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import Text, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from footplate_spec import JOB_FINAL, Cause, CauseCode, JobSpec, JobState

from . import tables
from .attempts import JobRecord
from .database import Transaction
from .jobs import NewJob, insert_jobs

__all__ = ["Progress", "first_failure", "make_runs", "open_runs", "progress_of", "run_counts"]

_j, _b = tables.jobs, tables.blob_refs
_OPEN = [state.value for state in JobState if state not in JOB_FINAL]


@dataclass(frozen=True)
class Progress:
    """How far an array has come.

    Parameters
    ----------
    made
        Runs that were made, which are the first so many.
    counts
        Runs by state.
    """

    size: int
    made: int
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def open(self) -> int:
        """Runs that have not ended."""
        return sum(self.counts.get(state, 0) for state in _OPEN)


async def run_counts(connection: AsyncConnection, arrays: Collection[str]) -> dict[str, dict[str, int]]:
    """The runs of each of these arrays by state."""
    found: dict[str, dict[str, int]] = {array: {} for array in arrays}
    if arrays:
        statement = (
            select(_j.c.parent, _j.c.state, func.count())
            .where(_j.c.parent.in_(sorted(arrays)))
            .group_by(_j.c.parent, _j.c.state)
        )
        for parent, state, count in await connection.execute(statement):
            found[parent][state] = count
    return found


async def progress_of(connection: AsyncConnection, array: str) -> Progress:
    """How far one array has come."""
    columns = select(_j.c.array_size, _j.c.array_next).where(_j.c.id == array)
    row = (await connection.execute(columns)).one()
    return Progress(row.array_size, row.array_next, (await run_counts(connection, [array]))[array])


async def open_runs(connection: AsyncConnection, array: str) -> list[str]:
    """Runs that have not ended, in order."""
    statement = select(_j.c.id).where(_j.c.parent == array, _j.c.state.in_(_OPEN)).order_by(_j.c.array_index)
    return list((await connection.execute(statement)).scalars())


async def first_failure(connection: AsyncConnection, array: str) -> Cause:
    """Why the first run failed that did."""
    statement = (
        select(_j.c.id, _j.c.array_index, _j.c.cause)
        .where(_j.c.parent == array, _j.c.state == JobState.FAILED.value)
        .order_by(_j.c.ended)
        .limit(1)
    )
    row = (await connection.execute(statement)).one()
    cause = Cause.model_validate_json(row.cause) if row.cause else None
    message = f"Run {row.array_index}, {row.id}, failed" + (f": {cause.message}" if cause else ".")
    return Cause(code=cause.code if cause else CauseCode.USER_ERROR, message=message)


async def make_runs(t: Transaction, array: JobRecord, spec: JobSpec, first: int, count: int) -> None:
    """Queue the next runs, in the array's place in line; nothing if others made them already."""
    claimed = await t.execute(
        update(_j)
        .where(_j.c.id == array.id, _j.c.array_next == first, _j.c.state.in_(_OPEN))
        .values(array_next=first + count)
    )
    if claimed.rowcount != 1:
        return
    runs = [
        NewJob(
            spec.run(index),
            array.time_limit,
            parent=array.id,
            index=index,
            place=array.place + index * 1e-6,
        )
        for index in range(first, first + count)
    ]
    made = await insert_jobs(t, array.owner, runs)
    for run in made:  # what the array refers to, its runs may fetch
        copied = select(_b.c.digest, literal(run, Text)).where(_b.c.job == array.id)
        await t.execute(insert(_b).from_select(["digest", "job"], copied))
