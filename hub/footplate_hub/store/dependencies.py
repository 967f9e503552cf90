"""What jobs wait for one another for.

How an upstream job ended is written beside those who wait for it, in the transaction that ends it, so a
job that ended long ago may be deleted and nobody waits for ever. The rows of upstream jobs are locked
against their end while someone begins to wait for them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from footplate_spec.job import After
from footplate_spec.states import JOB_FINAL, JobState

from . import tables
from .database import Transaction

__all__ = [
    "Dependency",
    "ahead_of",
    "insert_dependencies",
    "note_ends",
    "read_dependencies",
    "replace",
    "upstream_states",
]

_d, _j = tables.dependencies, tables.jobs
_CHUNK = 500
_LOCK = 0x61667465  # "afte": one change of who waits for whom at a time, so that two cannot make a circle


@dataclass(frozen=True, slots=True)
class Dependency:
    """One job that another waits for, and how that one ended, once it has."""

    upstream: str
    outcome: str
    state: JobState | None = None

    @property
    def met(self) -> bool:
        """Whether it stands in nobody's way any more."""
        return self.state is not None and self.outcome in {"finished", self.state.value}

    @property
    def never(self) -> bool:
        """Whether the outcome can no longer come."""
        return self.state is not None and not self.met


async def upstream_states(t: Transaction, jobs: Collection[str]) -> dict[str, tuple[str, str, JobState]]:
    """Owner, group and state of these jobs, as far as they exist; they do not end before this transaction."""
    found: dict[str, tuple[str, str, JobState]] = {}
    wanted = sorted(set(jobs))
    for start in range(0, len(wanted), _CHUNK):
        statement = (
            select(_j.c.id, _j.c.owner, _j.c.group_path, _j.c.state)
            .where(_j.c.id.in_(wanted[start : start + _CHUNK]))
            .with_for_update(read=True)
        )
        for row in await t.execute(statement):
            found[row.id] = (row.owner, row.group_path, JobState(row.state))
    return found


async def insert_dependencies(t: Transaction, waiting: Sequence[tuple[str, Sequence[After]]]) -> None:
    """Let jobs wait for others."""
    named = {after.job for _, all_of_it in waiting for after in all_of_it}
    if not named:
        return
    states = {job: state for job, (_, _, state) in (await upstream_states(t, named)).items()}
    rows = [
        {
            "job": job,
            "upstream": after.job,
            "outcome": after.outcome,
            "state": states[after.job].value if states.get(after.job) in JOB_FINAL else None,
        }
        for job, all_of_it in waiting
        for after in all_of_it
    ]
    await t.execute(insert(_d), rows)


async def replace(t: Transaction, job: str, after: Sequence[After]) -> None:
    """Let a job wait for these instead."""
    known = {row.upstream: row.state for row in await t.execute(select(_d).where(_d.c.job == job))}
    await t.execute(delete(_d).where(_d.c.job == job))
    await insert_dependencies(t, [(job, after)])
    for upstream, state in known.items():  # one that was deleted since told its end before
        if state is not None:
            kept = (_d.c.job == job, _d.c.upstream == upstream, _d.c.state.is_(None))
            await t.execute(update(_d).where(*kept).values(state=state))


async def note_ends(t: Transaction, states: Mapping[str, JobState]) -> None:
    """Tell those who wait how these jobs ended; the others of them are left alone."""
    ended = [{"key": job, "ended": state.value} for job, state in states.items() if state in JOB_FINAL]
    if ended:
        statement = update(_d).where(_d.c.upstream == bindparam("key")).values(state=bindparam("ended"))
        await t.execute(statement, ended)


async def read_dependencies(connection: AsyncConnection, jobs: Iterable[str]) -> dict[str, list[Dependency]]:
    """What each of these jobs waits for."""
    found: dict[str, list[Dependency]] = {}
    wanted = sorted(set(jobs))
    for start in range(0, len(wanted), _CHUNK):
        statement = select(_d).where(_d.c.job.in_(wanted[start : start + _CHUNK]))
        for row in await connection.execute(statement):
            state = JobState(row.state) if row.state else None
            found.setdefault(row.job, []).append(Dependency(row.upstream, row.outcome, state))
    return found


async def ahead_of(t: Transaction, jobs: Collection[str]) -> set[str]:
    """All jobs that these wait for, through any number of others, and these themselves."""
    if t.connection.dialect.name == "postgresql":
        await t.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    found, new = set(jobs), set(jobs)
    while new:
        statement = select(_d.c.upstream).where(_d.c.job.in_(sorted(new)), _d.c.state.is_(None))
        new = set((await t.execute(statement)).scalars()) - found
        found |= new
    return found
