"""Of several services on one PostgreSQL, one leads: it holds a lock, and its writes carry its epoch.

The lock says who may begin. It is lost with the connection that holds it, which the holder may learn late;
so each of its writes checks, in its own transaction, that nobody has begun since.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from . import tables
from .database import Database, StoreError, T, Transaction, Unit

__all__ = ["LeaderLock", "LeadersDatabase", "StaleLeaderError"]

_l = tables.leader
_LOCK = 0x6C656164  # "lead"


class StaleLeaderError(StoreError):
    """Another service leads by now: nothing was written."""


class LeadersDatabase(Database):
    """The database as the leading service's loops write it.

    Parameters
    ----------
    database
        The one of this service.
    """

    def __init__(self, database: Database) -> None:
        self._inner = database
        self.url = database.url
        self.sqlite = database.sqlite
        self._epoch: int | None = None

    async def begin(self) -> None:
        """Begin a new epoch: whoever wrote before writes no more."""
        if self.sqlite:
            return  # one service, under the lock of its data folder

        async def unit(t: Transaction) -> int:
            grown = update(_l).where(_l.c.id == 1).values(epoch=_l.c.epoch + 1, time=t.now)
            epoch = (await t.execute(grown.returning(_l.c.epoch))).scalar_one_or_none()
            if epoch is None:
                await t.execute(insert(_l).values(id=1, epoch=1, time=t.now))
            return int(epoch or 1)

        self._epoch = await self._inner.write(unit)

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one consistent, committed state."""
        async with self._inner.read() as connection:
            yield connection

    async def write(self, unit: Unit[T]) -> T:
        """Run ``unit`` in a transaction, unless another service leads.

        Raises
        ------
        StaleLeaderError
            If another leads: nothing was written.
        """
        epoch = self._epoch
        if epoch is None:
            return await self._inner.write(unit)

        async def checked(t: Transaction) -> T:
            current = select(_l.c.epoch).where(_l.c.id == 1).with_for_update(read=True)
            if (await t.execute(current)).scalar_one() != epoch:
                raise StaleLeaderError("another service leads by now, so this one wrote nothing")
            return await unit(t)

        return await self._inner.write(checked)


class LeaderLock:
    """The lock that one service holds, on a connection of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine: AsyncEngine | None = None
        self._connection: AsyncConnection | None = None

    async def take(self) -> bool:
        """Take the lock if nobody holds it."""
        if self._url.startswith("sqlite"):
            return True
        if self._engine is None:
            self._engine = create_async_engine(self._url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        try:
            connection = await self._engine.connect()
            taken = await connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK})
            if taken.scalar_one():
                self._connection = connection
                return True
            await connection.close()
        except (SQLAlchemyError, OSError):
            return False  # the database is away; it is tried again
        return False

    async def held(self) -> bool:
        """Whether it is still held."""
        if self._connection is None:
            return self._url.startswith("sqlite")
        try:
            await self._connection.execute(text("SELECT 1"))
        except (SQLAlchemyError, OSError):
            return False
        return True

    async def drop(self) -> None:
        """Let others take it."""
        if self._connection is not None:
            with contextlib.suppress(SQLAlchemyError, OSError):
                await self._connection.close()
            self._connection = None
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None
