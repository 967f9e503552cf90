"""The event log: one order for everybody, read from a position on, and only what one may see.

A position is the ``seq`` of the last event seen. Retention takes old events from the front; a position
before what is kept has expired, and its reader must take a fresh look at the world. The audit trail is
the events that have an actor.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from footplate_spec import Event, EventKind

from . import tables
from .database import Transaction
from .jobs import Viewer

__all__ = ["ExpiredError", "delete_before", "newest", "page", "timeline"]

_e, _j = tables.events, tables.jobs
# What happens to machines and to the service concerns everybody.
_PUBLIC = [
    EventKind.NODE_BLOCKED.value,
    EventKind.NODE_DRAINED.value,
    EventKind.NODE_UNBLOCKED.value,
    EventKind.ADDRESS_BLOCKED.value,
    EventKind.ADDRESS_UNBLOCKED.value,
    EventKind.CLUSTER_HELD.value,
    EventKind.CLUSTER_RELEASED.value,
    EventKind.SERVICE_STARTED.value,
]


class ExpiredError(Exception):
    """The position is older than what is kept.

    Parameters
    ----------
    oldest
        The first position from which reading works again.
    """

    def __init__(self, oldest: int) -> None:
        self.oldest = oldest
        super().__init__(f"the events after that position are no longer kept; go on after {oldest}")


def _visible(viewer: Viewer) -> list[ColumnElement[bool]]:
    if viewer.admin:
        return []
    own = select(_j.c.id).where(_j.c.owner == viewer.name)
    return [
        or_(
            viewer.in_groups(_e.c.group_path),
            _e.c.actor == viewer.name,
            _e.c.kind.in_(_PUBLIC),
            _e.c.subject.in_(own),
        )
    ]


def _event(row: Any) -> Event:
    return Event(
        seq=row.seq,
        time=row.time,
        kind=row.kind,
        subject=row.subject,
        actor=row.actor,
        group=row.group_path,
        data=json.loads(row.data),
    )


async def page(
    connection: AsyncConnection,
    viewer: Viewer,
    *,
    after: int = 0,
    limit: int = 1000,
    subject: str | None = None,
    actor: str | None = None,
) -> tuple[list[Event], int]:
    """Events after a position that ``viewer`` may see, and the position to go on from.

    Position 0 is the beginning of what is kept. The next position passes what the viewer may not see,
    so that a reader of few events does not read past the same many again and again.

    Raises
    ------
    ExpiredError
        If events after the position have been deleted.
    """
    first, last = (await connection.execute(select(func.min(_e.c.seq), func.max(_e.c.seq)))).one()
    if 0 < after < (first or 0) - 1:
        raise ExpiredError(first - 1)
    filters = [_e.c.seq > after, *_visible(viewer)]
    if subject is not None:
        filters.append(_e.c.subject == subject)
    if actor is not None:
        filters.append(_e.c.actor == actor)
    rows = (await connection.execute(select(_e).where(*filters).order_by(_e.c.seq).limit(limit))).all()
    if len(rows) == limit:
        return [_event(row) for row in rows], rows[-1].seq
    return [_event(row) for row in rows], max(after, last or 0)


async def timeline(connection: AsyncConnection, subject: str, limit: int = 10_000) -> list[Event]:
    """What happened to one subject, for a caller who may see it."""
    statement = select(_e).where(_e.c.subject == subject).order_by(_e.c.seq).limit(limit)
    return [_event(row) for row in await connection.execute(statement)]


async def newest(connection: AsyncConnection) -> int:
    """The position of one who has seen everything."""
    return int((await connection.execute(select(func.max(_e.c.seq)))).scalar_one() or 0)


async def delete_before(t: Transaction, moment: float, limit: int = 5000) -> int:
    """Delete events older than ``moment``, oldest first; how many. The newest one stays as the mark."""
    last = select(func.max(_e.c.seq)).scalar_subquery()
    old = select(_e.c.seq).where(_e.c.time < moment, _e.c.seq < last).order_by(_e.c.seq).limit(limit)
    deleted = await t.execute(delete(_e).where(_e.c.seq.in_(old.scalar_subquery())))
    return int(deleted.rowcount)
