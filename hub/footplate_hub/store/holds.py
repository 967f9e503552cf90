"""Groups and clusters where nothing starts for now, who said so, and why."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from footplate_spec import EventKind, Hold

from . import tables
from .database import Transaction

__all__ = ["Kind", "hold", "read_holds", "release"]

Kind = Literal["group", "cluster"]
_h = tables.holds
_HELD = {"group": EventKind.GROUP_HELD, "cluster": EventKind.CLUSTER_HELD}
_RELEASED = {"group": EventKind.GROUP_RELEASED, "cluster": EventKind.CLUSTER_RELEASED}


async def read_holds(connection: AsyncConnection) -> list[Hold]:
    """All holds, by kind and name."""
    rows = await connection.execute(select(_h).order_by(_h.c.kind, _h.c.name))
    return [Hold(kind=row.kind, name=row.name, why=row.why, by=row.actor, since=row.time) for row in rows]


async def hold(t: Transaction, kind: Kind, name: str, *, why: str, actor: str) -> None:
    """Hold a group or a cluster; a later reason replaces an earlier one."""
    await t.execute(delete(_h).where(_h.c.kind == kind, _h.c.name == name))
    await t.execute(insert(_h).values(kind=kind, name=name, why=why, actor=actor, time=t.now))
    t.record(_HELD[kind], name, actor=actor, group=_whose(kind, name), data={"why": why})


async def release(t: Transaction, kind: Kind, name: str, *, actor: str) -> bool:
    """Release it; False where it was not held."""
    gone = await t.execute(delete(_h).where(_h.c.kind == kind, _h.c.name == name))
    if gone.rowcount:
        t.record(_RELEASED[kind], name, actor=actor, group=_whose(kind, name))
    return bool(gone.rowcount)


def _whose(kind: Kind, name: str) -> str | None:
    return name if kind == "group" else None
