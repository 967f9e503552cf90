"""SQLite without a thread's detour for every statement.

``aiosqlite`` hands each call to a thread and waits: a dozen hand-overs a statement, a tenth of a
millisecond each, while a statement itself takes a few microseconds from the page cache. Here statements
run where they are asked for, and only what waits for the disk or for another process's lock goes to the
thread: beginning to write, committing, opening, closing, and what changes the whole file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

import aiosqlite

__all__ = ["connect"]

_ROWS_AT_ONCE = 64
_WAIT = {"commit", "close", "backup"}
_WAITS = ("BEGIN IMMEDIATE", "PRAGMA", "VACUUM")


class _Connection(aiosqlite.Connection):
    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        statement = args[0] if args and isinstance(args[0], str) else ""
        of_cursor = isinstance(getattr(fn, "__self__", None), sqlite3.Cursor)  # its end waits for nothing
        waits = (fn.__name__ in _WAIT and not of_cursor) or statement.startswith(_WAITS)
        if waits or not self._running or not self._connection:
            return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]
        return fn(*args, **kwargs)


def connect(*args: Any, **kwargs: Any) -> aiosqlite.Connection:
    """What SQLAlchemy is given as ``async_creator_fn``; the caller's arguments are those of `sqlite3`."""
    kwargs["check_same_thread"] = False  # one caller at a time, but in two threads
    connection = _Connection(partial(sqlite3.connect, *args, **kwargs), _ROWS_AT_ONCE)
    connection._thread.daemon = True
    return connection
