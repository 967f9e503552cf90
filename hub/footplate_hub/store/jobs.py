"""Jobs as people see them: submitted, listed, edited, deleted. Their attempts are in ``attempts``.

What one person may see is decided here, in the query, so that no page or count shows more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, union, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from footplate_spec import (
    JOB_FINAL,
    ArrayCounts,
    Cause,
    EventKind,
    JobSpec,
    JobState,
    JobSummary,
    Reason,
    ReasonCode,
    job_id,
)

from . import dependencies, tables
from .database import Transaction

__all__ = [
    "EDITABLE",
    "Deleted",
    "JobRow",
    "NewJob",
    "Viewer",
    "by_key",
    "delete_finished",
    "edit",
    "ended_before",
    "ends_among",
    "existing",
    "find",
    "group_used",
    "insert_jobs",
    "open_in",
    "page",
    "states_among",
    "summary",
    "unfinished_in",
    "unfinished_of",
    "visible_among",
    "within",
]

JobRow = RowMapping
_j = tables.jobs
_CHUNK = 500
EDITABLE = (JobState.QUEUED.value, JobState.SUSPENDED.value)
PENDING = Reason(
    code=ReasonCode.PENDING_EVALUATION, message="The queue has not looked at this job yet."
).model_dump_json()


@dataclass(frozen=True)
class Viewer:
    """Who looks: a person sees the own jobs, those of their groups and of groups that they administer.

    An administrator of the platform sees all.
    """

    name: str
    groups: frozenset[str]
    admin: bool = False
    administers: frozenset[str] = frozenset()

    def sees(self, owner: str, group: str | None) -> bool:
        """Whether a job of ``owner`` in ``group`` is visible."""
        if self.admin or owner == self.name or group in self.groups:
            return True
        return group is not None and within(group, self.administers)

    def in_groups(self, column: ColumnElement[str]) -> ColumnElement[bool]:
        """Whether ``column`` names a group whose jobs are visible, as SQL."""
        below = [column.startswith(f"{group}/", autoescape=True) for group in sorted(self.administers)]
        return or_(column.in_(sorted(self.groups | self.administers)), *below)


def within(group: str, above: Collection[str]) -> bool:
    """Whether a group is one of ``above``, or below one of them in the tree."""
    return any(group == one or group.startswith(f"{one}/") for one in above)


@dataclass(frozen=True)
class NewJob:
    """A job that was found valid; ``spec`` has its group filled in."""

    spec: JobSpec
    time_limit: int
    key: str | None = None
    parent: str | None = None
    index: int | None = None
    place: float | None = None  # unset: at the end of the line

    @property
    def digest(self) -> str:
        """Says whether a repeated key means the same job."""
        return hashlib.sha256(self.spec.model_dump_json(by_alias=True).encode()).hexdigest()


class _Line:
    """Places in line: submission times that never repeat, so that order is total and page marks exact."""

    def __init__(self) -> None:
        self._last = 0.0

    def next(self, now: float) -> float:
        self._last = max(now, self._last + 1e-6)
        return self._last


_line = _Line()


async def insert_jobs(t: Transaction, owner: str, jobs: Sequence[NewJob]) -> list[str]:
    """Queue jobs in this order, each with its ``job.submitted`` event; their ids."""
    rows: list[dict[str, Any]] = []
    for job in jobs:
        spec = job.spec
        now = _line.next(t.now)
        place = now if job.place is None else job.place
        rows.append(
            {
                "id": job_id(spec.name),
                "owner": owner,
                "group_path": spec.group,
                "name": spec.name,
                "state": JobState.QUEUED.value,
                "priority": spec.priority,
                "place": place,
                "spec": spec.model_dump_json(by_alias=True),
                "replicas": spec.replicas,
                "gpu": gpus(spec),
                "declared": False,
                "time_limit": job.time_limit,
                "attempt": 0,
                "restarts": 0,
                "submitted": now,
                "parent": job.parent,
                "array_index": job.index,
                "array_size": spec.array.size if spec.array else None,
                "array_next": 0 if spec.array else None,
                "reason": PENDING,
                "idempotency_key": job.key,
                "idempotency_digest": job.digest if job.key else None,
            }
        )
    await _insert(t, rows)
    await dependencies.insert_dependencies(
        t, [(row["id"], job.spec.after) for row, job in zip(rows, jobs, strict=True)]
    )
    for row in rows:
        t.record(
            EventKind.JOB_SUBMITTED,
            row["id"],
            actor=owner,
            group=row["group_path"],
            data={"name": row["name"], "replicas": row["replicas"], "gpu": row["gpu"]},
        )
    return [row["id"] for row in rows]


async def _insert(t: Transaction, rows: list[dict[str, Any]]) -> None:
    """Insert rows; those that drew an id which is taken draw again: rare, and never a failed submit."""
    dialect = sqlite if t.connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(_j).on_conflict_do_nothing(index_elements=["id"]).returning(_j.c.id)
    pending = rows
    while pending:
        unique = {row["id"]: row for row in pending}
        made = set((await t.execute(statement, list(unique.values()))).scalars())
        pending = [row for row in pending if row["id"] not in made or unique[row["id"]] is not row]
        for row in pending:
            row["id"] = job_id(row["name"])


def gpus(spec: JobSpec) -> int:
    """GPUs of the whole gang."""
    return sum(role.fewest * role.resources.gpu for role in spec.roles)


async def by_key(connection: AsyncConnection, owner: str, keys: Collection[str]) -> dict[str, JobRow]:
    """The owner's jobs that were submitted with one of these idempotency keys."""
    found: dict[str, JobRow] = {}
    unique = sorted(set(keys))
    for start in range(0, len(unique), _CHUNK):
        statement = select(_j).where(
            _j.c.owner == owner, _j.c.idempotency_key.in_(unique[start : start + _CHUNK])
        )
        rows = (await connection.execute(statement)).mappings()
        found |= {row["idempotency_key"]: row for row in rows}
    return found


async def unfinished_of(connection: AsyncConnection, owner: str) -> int:
    """How many of a person's jobs wait or run."""
    statement = (
        select(func.count())
        .select_from(_j)
        .where(_j.c.owner == owner, _j.c.state.not_in([s.value for s in JOB_FINAL]))
    )
    return int((await connection.execute(statement)).scalar_one())


async def unfinished_in(connection: AsyncConnection, owner: str, group: str) -> int:
    """How many of a person's jobs wait or run in a group and all groups below it."""
    path = _j.c.group_path
    statement = (
        select(func.count())
        .select_from(_j)
        .where(
            _j.c.owner == owner,
            _j.c.state.not_in([s.value for s in JOB_FINAL]),
            (path == group) | path.startswith(f"{group}/", autoescape=True),
        )
    )
    return int((await connection.execute(statement)).scalar_one())


async def find(connection: AsyncConnection, job: str) -> JobRow | None:
    """One job, or None."""
    return (await connection.execute(select(_j).where(_j.c.id == job))).mappings().one_or_none()


async def page(
    connection: AsyncConnection,
    viewer: Viewer,
    *,
    states: Collection[str] = (),
    group: str | None = None,
    owner: str | None = None,
    parent: str | None = None,
    limit: int = 100,
    before: tuple[float, str] | None = None,
) -> list[JobRow]:
    """Jobs that ``viewer`` may see, newest first.

    Parameters
    ----------
    parent
        The runs of this array; unset: an array is one row, and its runs are not listed.
    before
        Submission time and id of the last job of the page before.

    Notes
    -----
    One indexed query for each source of visibility (own, each group), merged: an ``OR`` over them makes
    SQLite sort everything that is visible to show a hundred.
    """
    filters: list[ColumnElement[bool]] = [_j.c.parent.is_(None) if parent is None else _j.c.parent == parent]
    if states:
        filters.append(_j.c.state.in_(sorted(states)))
    if group is not None:
        filters.append(_j.c.group_path == group)
    if owner is not None:
        filters.append(_j.c.owner == owner)
    if before is not None:
        moment, last = before
        filters.append(or_(_j.c.submitted < moment, and_(_j.c.submitted == moment, _j.c.id < last)))
        filters.append(_j.c.submitted <= moment)
    columns = [column for column in _j.c if column.name not in {"spec", "result"}]

    def newest(*source: ColumnElement[bool]) -> Any:
        order = (_j.c.submitted.desc(), _j.c.id.desc())
        return select(*columns).where(*source, *filters).order_by(*order).limit(limit)

    if viewer.admin:
        statement = newest()
    else:
        sources = [newest(_j.c.owner == viewer.name)]
        sources += [newest(_j.c.group_path == name) for name in sorted(viewer.groups)]
        if viewer.administers:
            sources.append(newest(viewer.in_groups(_j.c.group_path)))
        merged = union(*(select(source.subquery()) for source in sources)).subquery()
        statement = select(merged).order_by(merged.c.submitted.desc(), merged.c.id.desc()).limit(limit)
    return list((await connection.execute(statement)).mappings())


async def open_in(connection: AsyncConnection, group: str) -> int:
    """How many jobs of a group and of those below it have not ended."""
    below = _j.c.group_path.startswith(f"{group}/", autoescape=True)
    statement = (
        select(func.count())
        .select_from(_j)
        .where(or_(_j.c.group_path == group, below), _j.c.state.not_in([s.value for s in JOB_FINAL]))
    )
    return int((await connection.execute(statement)).scalar_one())


async def group_used(connection: AsyncConnection, group: str) -> bool:
    """Whether there are jobs of a group or of one below it."""
    below = _j.c.group_path.startswith(f"{group}/", autoescape=True)
    statement = select(_j.c.id).where(or_(_j.c.group_path == group, below)).limit(1)
    return (await connection.execute(statement)).first() is not None


async def visible_among(connection: AsyncConnection, viewer: Viewer, ids: Sequence[str]) -> list[str]:
    """Those of the jobs that ``viewer`` may see, in the order given."""
    if viewer.admin:
        return list(ids)
    seen: set[str] = set()
    for start in range(0, len(ids), _CHUNK):
        statement = select(_j.c.id).where(
            _j.c.id.in_(ids[start : start + _CHUNK]),
            or_(_j.c.owner == viewer.name, viewer.in_groups(_j.c.group_path)),
        )
        seen |= set((await connection.execute(statement)).scalars())
    return [job for job in ids if job in seen]


async def states_among(connection: AsyncConnection, viewer: Viewer, ids: Sequence[str]) -> dict[str, str]:
    """The states of those of the jobs that ``viewer`` may see."""
    statement = select(_j.c.id, _j.c.state).where(_j.c.id.in_(ids))
    if not viewer.admin:
        statement = statement.where(or_(_j.c.owner == viewer.name, viewer.in_groups(_j.c.group_path)))
    return {row.id: row.state for row in await connection.execute(statement)}


async def ends_among(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, float]:
    """When those of the jobs that run end at the latest."""
    statement = select(_j.c.id, _j.c.started, _j.c.time_limit).where(
        _j.c.id.in_(ids), _j.c.state == JobState.RUNNING.value, _j.c.started.is_not(None), _j.c.time_limit > 0
    )
    return {row.id: row.started + row.time_limit for row in await connection.execute(statement)}


async def edit(
    t: Transaction, row: JobRow, spec: JobSpec, *, time_limit: int, actor: str, changed: Sequence[str]
) -> bool:
    """Change a job that waits or is suspended; False if it does neither any more.

    It keeps its place in line unless it now asks for more than when it got it.
    """
    old = JobSpec.model_validate_json(row["spec"])
    values: dict[str, Any] = {
        "spec": spec.model_dump_json(by_alias=True),
        "group_path": spec.group,
        "priority": spec.priority,
        "replicas": spec.replicas,
        "gpu": gpus(spec),
        "time_limit": time_limit,
        "reason": PENDING,
        "owed": False,
    }
    grows = _asks_for_more(old, spec)
    if grows:
        values["place"] = _line.next(t.now)
    statement = (
        update(_j)
        .where(_j.c.id == row["id"], _j.c.state.in_(EDITABLE), _j.c.spec == row["spec"])
        .values(**values)
    )
    if (await t.execute(statement)).rowcount != 1:
        return False
    if spec.group != row["group_path"]:
        moved = {"from": row["group_path"], "to": spec.group}
        for group in moved.values():  # the people of both see that it went
            t.record(EventKind.JOB_MOVED, row["id"], actor=actor, group=group, data=moved)
    if "after" in changed:
        await dependencies.replace(t, row["id"], spec.after)
    t.record(
        EventKind.JOB_EDITED,
        row["id"],
        actor=actor,
        group=spec.group,
        data={"changed": list(changed), "place_kept": not grows},
    )
    return True


def _asks_for_more(old: JobSpec, new: JobSpec) -> bool:
    def total(spec: JobSpec) -> list[int]:
        roles = [(role.most, role.resources) for role in spec.roles]
        return [
            sum(count for count, _ in roles),
            sum(count * resources.gpu for count, resources in roles),
            sum(count * resources.cpu for count, resources in roles),
            sum(count * resources.memory for count, resources in roles),
        ]

    return any(after > before for before, after in zip(total(old), total(new), strict=True))


@dataclass(frozen=True)
class Deleted:
    """What may go with a job, or an array and its runs: what these attempts and jobs left."""

    owner: str
    attempts: list[str]
    jobs: list[str]


async def delete_finished(t: Transaction, job: str, actor: str | None) -> Deleted | None:
    """Delete a job that has ended. None: it has not."""
    statement = (
        select(tables.attempts.c.id, _j.c.id.label("job"), _j.c.owner)
        .join(_j, _j.c.id == tables.attempts.c.job)
        .where(or_(_j.c.id == job, _j.c.parent == job))
    )
    rows = list(await t.execute(statement))
    removed = (
        delete(_j)
        .where(_j.c.id == job, _j.c.state.in_([s.value for s in JOB_FINAL]))
        .returning(_j.c.group_path)
    )
    group = (await t.execute(removed)).scalar_one_or_none()
    if group is None:
        return None
    await t.execute(delete(_j).where(_j.c.parent == job))
    t.record(EventKind.JOB_DELETED, job, actor=actor, group=group)
    owner = rows[0].owner if rows else ""
    return Deleted(owner, [row.id for row in rows], sorted({row.job for row in rows}))


async def ended_before(connection: AsyncConnection, moment: float, limit: int = 200) -> list[str]:
    """Jobs that ended before ``moment``."""
    statement = (
        select(_j.c.id)
        .where(_j.c.state.in_([s.value for s in JOB_FINAL]), _j.c.ended < moment, _j.c.parent.is_(None))
        .limit(limit)
    )
    return list((await connection.execute(statement)).scalars())


def _still_has(row: JobRow, reason: Reason | None) -> bool:
    """Whether it is a reason that jobs have which do not wait: arrays, and those whose node is lost."""
    lost = reason is not None and reason.code == ReasonCode.NODE_LOST
    return (lost or row["array_size"] is not None) and row["state"] not in JOB_FINAL


def summary(row: JobRow, reason: Reason | None = None, counts: Mapping[str, int] | None = None) -> JobSummary:
    """A row as people see it; ``reason`` is newer than the stored one, ``counts`` an array's runs."""
    waits = row["state"] in {JobState.QUEUED.value, JobState.SUSPENDED.value}
    if reason is None and waits and row["reason"]:
        reason = Reason.model_validate_json(row["reason"])
    return JobSummary(
        id=row["id"],
        name=row["name"],
        owner=row["owner"],
        group=row["group_path"],
        state=row["state"],
        stopping=row["stopping"] is not None,
        priority=row["priority"],
        replicas=row["replicas"],
        gpu=row["gpu"],
        declared=row["declared"],
        cluster=row["cluster"],
        attempt=row["attempt"],
        submitted=row["submitted"],
        started=row["started"],
        ended=row["ended"],
        reason=reason if waits or _still_has(row, reason) else None,
        cause=Cause.model_validate_json(row["cause"]) if row["cause"] else None,
        array=_array_counts(row, counts or {}) if row["array_size"] is not None else None,
        parent=row["parent"],
        index=row["array_index"],
    )


def _array_counts(row: JobRow, counts: Mapping[str, int]) -> ArrayCounts:
    unmade = 0 if row["state"] in JOB_FINAL else row["array_size"] - row["array_next"]
    running = counts.get("starting", 0) + counts.get("running", 0)
    told = {state: counts.get(state, 0) for state in ("suspended", "succeeded", "failed", "cancelled")}
    queued = counts.get("queued", 0) + unmade
    return ArrayCounts(size=row["array_size"], queued=queued, running=running, **told)


async def existing(connection: AsyncConnection, ids: Sequence[str]) -> set[str]:
    """Those of the ids that are jobs."""
    found: set[str] = set()
    for start in range(0, len(ids), _CHUNK):
        statement = select(_j.c.id).where(_j.c.id.in_(ids[start : start + _CHUNK]))
        found |= set((await connection.execute(statement)).scalars())
    return found
