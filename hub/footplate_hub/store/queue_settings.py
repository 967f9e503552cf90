"""What administrators changed of priorities and clusters, over what footplate.yaml says of them."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import BaseModel
from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from footplate_spec import JOB_FINAL, EventKind

from . import tables
from .database import Transaction

__all__ = ["forget", "lock", "open_with", "put", "read_settings"]

_q = tables.queue_settings
_LOCK = 0x71756575  # "queu": one change at a time


async def lock(t: Transaction) -> None:
    """Let nobody else change one before this transaction ends."""
    if t.connection.dialect.name == "postgresql":
        await t.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


async def read_settings(connection: AsyncConnection) -> dict[str, str]:
    """All changed settings as JSON, by name: ``priorities``, ``cluster/local``."""
    rows = await connection.execute(select(_q.c.name, _q.c.document))
    return {row.name: row.document for row in rows}


async def put(t: Transaction, name: str, document: BaseModel, *, actor: str) -> None:
    """Store what one is from now on."""
    await t.execute(delete(_q).where(_q.c.name == name))
    text_ = document.model_dump_json()
    await t.execute(insert(_q).values(name=name, document=text_, actor=actor, time=t.now))
    t.record(_kind(name), _subject(name), actor=actor, data=document.model_dump(mode="json"))


async def forget(t: Transaction, name: str, *, actor: str) -> bool:
    """Go back to what footplate.yaml says; False where nothing was stored."""
    gone = await t.execute(delete(_q).where(_q.c.name == name))
    if gone.rowcount:
        t.record(_kind(name), _subject(name), actor=actor, data={"reset": True})
    return bool(gone.rowcount)


async def open_with(connection: AsyncConnection, priorities: Collection[str]) -> dict[str, int]:
    """How many jobs that have not ended have each of some priorities."""
    j = tables.jobs
    statement = (
        select(j.c.priority, func.count())
        .where(j.c.priority.in_(sorted(priorities)), j.c.state.not_in([s.value for s in JOB_FINAL]))
        .group_by(j.c.priority)
    )
    return {name: int(count) for name, count in await connection.execute(statement)}


def _kind(name: str) -> EventKind:
    return EventKind.PRIORITIES_CHANGED if name == "priorities" else EventKind.CLUSTER_CHANGED


def _subject(name: str) -> str:
    return name.rpartition("/")[2]
