"""What ended attempts used, for budgets: kept when their jobs are deleted, so that nobody gets it back."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import case, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from . import tables
from .database import Transaction

__all__ = ["Ended", "forget_before", "save_ended", "totals"]

_s = tables.spending
Ended = tuple[str, str, int, float, float, float]  # attempt, group, GPUs, price an hour, begin and end


async def save_ended(t: Transaction, attempts: Iterable[Ended]) -> None:
    """Store what attempts used; each is stored once."""
    names = ("attempt", "group_path", "gpu", "price", "started", "ended")
    rows = [dict(zip(names, attempt, strict=True)) for attempt in attempts]
    if rows:
        dialect = sqlite if t.connection.dialect.name == "sqlite" else postgresql
        await t.execute(dialect.insert(_s).on_conflict_do_nothing(index_elements=["attempt"]), rows)


async def totals(connection: AsyncConnection, since: float) -> dict[str, tuple[float, float]]:
    """GPU-seconds and cost of each group alone, of what ran after a moment."""
    seconds = _s.c.ended - case((_s.c.started > since, _s.c.started), else_=since)
    statement = (
        select(_s.c.group_path, func.sum(_s.c.gpu * seconds), func.sum(_s.c.price * seconds / 3600.0))
        .where(_s.c.ended > since)
        .group_by(_s.c.group_path)
    )
    return {group: (float(gpu), float(cost)) for group, gpu, cost in await connection.execute(statement)}


async def forget_before(t: Transaction, moment: float) -> None:
    """Delete what ended before a moment, when no period that began before it is on."""
    await t.execute(delete(_s).where(_s.c.ended < moment))
