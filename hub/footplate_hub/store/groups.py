"""What administrators changed of groups, over what footplate.yaml says of them."""

from __future__ import annotations

from sqlalchemy import delete, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from footplate_spec import EventKind, Group

from . import tables
from .database import Transaction

__all__ = ["delete_group", "lock_groups", "put_group", "read_groups"]

_g = tables.group_settings
_LOCK = 0x67726F75  # "grou": the groups make one tree, so one change of them at a time


async def lock_groups(t: Transaction) -> None:
    """Let nobody else change a group before this transaction ends."""
    if t.connection.dialect.name == "postgresql":
        await t.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


async def read_groups(connection: AsyncConnection) -> dict[str, Group]:
    """All changed groups, by name."""
    rows = await connection.execute(select(_g))
    return {row.name: Group.model_validate_json(row.document) for row in rows}


async def put_group(t: Transaction, group: Group, *, actor: str) -> None:
    """Store what a group is from now on."""
    document = group.model_dump_json(exclude_defaults=True)
    await t.execute(delete(_g).where(_g.c.name == group.name))
    await t.execute(insert(_g).values(name=group.name, document=document, actor=actor, time=t.now))
    data = group.model_dump(mode="json", exclude_defaults=True)
    t.record(EventKind.GROUP_CHANGED, group.name, actor=actor, group=group.name, data=data)


async def delete_group(t: Transaction, name: str, *, actor: str) -> bool:
    """Forget what was stored of a group; False where nothing was."""
    gone = await t.execute(delete(_g).where(_g.c.name == name))
    if gone.rowcount:
        t.record(EventKind.GROUP_DELETED, name, actor=actor, group=name)
    return bool(gone.rowcount)
