"""One writer, many readers, on SQLite and on PostgreSQL.

Every change of state is one *unit*: an async function that is given a `Transaction`, changes rows and
records events. Units that wait at the same time are committed together, each in a savepoint of its own:
a unit that fails takes nobody with it, and a hundred small changes cost one synchronous write instead
of a hundred. A unit's caller hears of success only after the commit.

Events are numbered inside the writing transaction. SQLite has one writer; on PostgreSQL a
transaction-long advisory lock makes numbers appear in commit order, so a reader that saw event 7 will
never be shown a late event 6.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import insert, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from footplate_spec import Event

from . import sqlite, tables

__all__ = ["Database", "StoreError", "Transaction"]

T = TypeVar("T")
_LARGEST_GROUP = 128  # units a commit
_LAST_EVENT = text("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
_EVENT_LOCK = 0x666F6F74  # "foot": the advisory lock that orders events on PostgreSQL


class StoreError(Exception):
    """The database did not take a change. The message is for the log, not for users."""


@dataclass
class Transaction:
    """What a unit works with: a connection, the time of the change, and the events that it records."""

    connection: AsyncConnection
    now: float
    recorded: list[dict[str, Any]]

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        """Run one statement on the writing connection."""
        return await self.connection.execute(statement, parameters)

    def record(
        self,
        kind: str,
        subject: str,
        *,
        actor: str | None = None,
        group: str | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        """Add an event, written with the same commit."""
        self.recorded.append(
            {
                "time": self.now,
                "kind": kind,
                "subject": subject,
                "actor": actor,
                "group_path": group,
                "data": json.dumps(data or {}, separators=(",", ":")),
            }
        )


Unit = Callable[[Transaction], Awaitable[T]]


@dataclass
class _Waiting:
    unit: Unit[Any]
    future: asyncio.Future[Any]


class Database:
    """A database by its SQLAlchemy URL.

    Parameters
    ----------
    url
        ``sqlite+aiosqlite:///…`` or ``postgresql+asyncpg://…``.
    on_events
        Called after each commit with its events, in order, in the event loop's thread.
    clock
        Unix seconds.
    """

    def __init__(
        self,
        url: str,
        on_events: Callable[[Sequence[Event]], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.url = url
        self.sqlite = url.startswith("sqlite")
        self._on_events = on_events
        self._clock = clock
        self._writing = _engine(url, writer=True)
        self._reading = _engine(url, writer=False)
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._writer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to write. The schema must be there (see `migrations`)."""
        self._writer = asyncio.create_task(self._write_for_ever(), name="store-writer")

    async def close(self) -> None:
        """Finish what was accepted, then let go of the database."""
        if self._writer is not None:
            await self._waiting.join()
            self._writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer
            self._writer = None
        await self._writing.dispose()
        await self._reading.dispose()

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one consistent, committed state."""
        async with self._reading.connect() as connection:
            yield connection

    async def write(self, unit: Unit[T]) -> T:
        """Run ``unit`` in a transaction and return its result once that is committed.

        Raises
        ------
        StoreError
            If the database refused (disk full, connection lost): nothing of the unit was kept.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait(_Waiting(unit, future))
        # A caller that goes away (a closed connection) must not undo what others may have seen.
        return await asyncio.shield(future)

    async def _write_for_ever(self) -> None:
        while True:
            group = [await self._waiting.get()]
            while len(group) < _LARGEST_GROUP and not self._waiting.empty():
                group.append(self._waiting.get_nowait())
            try:
                await self._write_group(group)
            finally:
                for _ in group:
                    self._waiting.task_done()

    async def _write_group(self, group: list[_Waiting]) -> None:
        results: list[tuple[_Waiting, Any]] = []
        recorded: list[dict[str, Any]] = []
        try:
            async with self._writing.begin() as connection:
                for waiting in group:
                    done = await self._run(waiting, connection, alone=len(group) == 1)
                    if done is not None:
                        results.append((waiting, done[0]))
                        recorded += done[1]
                numbered = await self._number(connection, recorded)
        except (SQLAlchemyError, OSError) as error:
            for waiting in group:
                _fail(waiting.future, StoreError(f"nothing was written: {_first_line(error)}"))
            return
        except _UnitFailedError:  # a group of one: its transaction was rolled back, its caller knows
            return
        if numbered:
            self._on_events(numbered)
        for waiting, result in results:
            if not waiting.future.done():
                waiting.future.set_result(result)

    async def _run(
        self, waiting: _Waiting, connection: AsyncConnection, *, alone: bool
    ) -> tuple[Any, list[dict[str, Any]]] | None:
        transaction = Transaction(connection, self._clock(), [])
        try:
            if alone:
                return await waiting.unit(transaction), transaction.recorded
            async with connection.begin_nested():
                return await waiting.unit(transaction), transaction.recorded
        except SQLAlchemyError as error:
            _fail(waiting.future, StoreError(f"a change failed: {_first_line(error)}"))
        except Exception as error:  # noqa: BLE001 - a unit's own refusal belongs to its caller
            _fail(waiting.future, error)
        if alone:
            raise _UnitFailedError
        return None

    async def _number(self, connection: AsyncConnection, recorded: list[dict[str, Any]]) -> list[Event]:
        if not recorded:
            return []
        if not self.sqlite:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _EVENT_LOCK})
        if self.sqlite and len(recorded) > 1:
            # To learn the numbers that it gives, SQLite would be asked row by row; nobody else writes now.
            last = (await connection.execute(_LAST_EVENT)).scalar_one_or_none() or 0
            numbers: Sequence[int] = range(last + 1, last + 1 + len(recorded))
            rows = [{**row, "seq": seq} for seq, row in zip(numbers, recorded, strict=True)]
            await connection.execute(insert(tables.events), rows)
        else:
            statement = insert(tables.events).returning(tables.events.c.seq, sort_by_parameter_order=True)
            numbers = (await connection.execute(statement, recorded)).scalars().all()
        return [
            Event(
                seq=seq,
                time=row["time"],
                kind=row["kind"],
                subject=row["subject"],
                actor=row["actor"],
                group=row["group_path"],
                data=json.loads(row["data"]),
            )
            for seq, row in zip(numbers, recorded, strict=True)
        ]


class _UnitFailedError(Exception):
    """Rolls back the transaction of a unit whose caller already has the error."""


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _first_line(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0] if str(error) else repr(error)


def _engine(url: str, *, writer: bool) -> AsyncEngine:
    if not url.startswith("sqlite"):
        level = {} if writer else {"isolation_level": "REPEATABLE READ"}  # one state, as on SQLite
        return create_async_engine(url, pool_size=1 if writer else 8, pool_pre_ping=True, **level)
    engine = create_async_engine(
        url,
        pool_size=1 if writer else 8,
        max_overflow=0,  # opening one costs more than waiting for one
        connect_args={"async_creator_fn": sqlite.connect},
    )

    @sqlalchemy_event.listens_for(engine.sync_engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say when a transaction begins
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "busy_timeout=10000",
            "temp_store=MEMORY",
            *(() if writer else ("query_only=ON",)),
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sqlalchemy_event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

    return engine
