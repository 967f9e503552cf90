"""Sealed secrets, each held by a person or a group. The store never sees a value."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from footplate_spec import EventKind

from . import tables
from .database import Transaction

__all__ = ["Held", "group_holder", "names_of", "put", "remove", "sealed_for", "user_holder"]

_s = tables.secrets


@dataclass(frozen=True)
class Held:
    """That a secret exists: its name, who holds it, when it was stored."""

    holder: str
    name: str
    updated: float

    @property
    def group(self) -> str | None:
        """The group that holds it; none for a person's."""
        return self.holder.removeprefix("group:") if self.holder.startswith("group:") else None


def user_holder(name: str) -> str:
    """How a person is written as a holder."""
    return f"user:{name}"


def group_holder(path: str) -> str:
    """How a group is written as a holder."""
    return f"group:{path}"


async def put(t: Transaction, holder: str, name: str, sealed: bytes, actor: str) -> None:
    """Store or replace a secret."""
    dialect = sqlite if t.connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(_s).values(holder=holder, name=name, sealed=sealed, updated=t.now)
    statement = statement.on_conflict_do_update(
        index_elements=["holder", "name"],
        set_={"sealed": statement.excluded.sealed, "updated": statement.excluded.updated},
    )
    await t.execute(statement)
    _record(t, EventKind.SECRET_STORED, holder, name, actor)


async def remove(t: Transaction, holder: str, name: str, actor: str) -> bool:
    """Delete a secret; whether there was one."""
    deleted = await t.execute(delete(_s).where(_s.c.holder == holder, _s.c.name == name))
    if deleted.rowcount:
        _record(t, EventKind.SECRET_DELETED, holder, name, actor)
    return bool(deleted.rowcount)


def _record(t: Transaction, kind: EventKind, holder: str, name: str, actor: str) -> None:
    group = holder.removeprefix("group:") if holder.startswith("group:") else None
    t.record(kind, name, actor=actor, group=group)


async def names_of(connection: AsyncConnection, holders: Collection[str]) -> list[Held]:
    """The secrets of these holders, by name."""
    statement = select(_s.c.holder, _s.c.name, _s.c.updated).where(_s.c.holder.in_(sorted(holders)))
    rows = await connection.execute(statement.order_by(_s.c.name, _s.c.holder))
    return [Held(row.holder, row.name, row.updated) for row in rows]


async def sealed_for(
    connection: AsyncConnection, owner: str, group: str, names: Collection[str]
) -> dict[str, bytes]:
    """What a job of ``owner`` in ``group`` finds under these names: the own secret before the group's."""
    own, shared = user_holder(owner), group_holder(group)
    statement = select(_s).where(_s.c.holder.in_([own, shared]), _s.c.name.in_(sorted(names)))
    found: dict[str, bytes] = {}
    for row in sorted(await connection.execute(statement), key=lambda row: row.holder == own):
        found[row.name] = row.sealed
    return found
