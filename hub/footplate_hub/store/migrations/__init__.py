"""Bring a database to this version's schema, before anything reads it.

Migrations expand first and contract a version later, so that services of two neighbouring versions can
work on one database. A SQLite file is copied before it is changed. A database of a newer version is
refused, not guessed at.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

__all__ = ["SchemaError", "upgrade"]

_LOCK = 0x6D696772  # "migr": one service migrates a shared database at a time


class SchemaError(Exception):
    """The database cannot be used by this version; the message is one sentence for the owner."""


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


async def upgrade(url: str) -> None:
    """Create or migrate the schema at a SQLAlchemy URL.

    Raises
    ------
    SchemaError
        If a newer version wrote the database.
    """
    engine = create_async_engine(url, poolclass=NullPool)
    if url.startswith("sqlite"):
        _begin_ourselves(engine)
    try:
        async with engine.connect() as connection:
            if not url.startswith("sqlite"):
                await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
            await connection.run_sync(_upgrade, url)
            await connection.commit()
    finally:
        await engine.dispose()


def _begin_ourselves(engine: AsyncEngine) -> None:
    """Make changes of the schema part of the transaction; Python's SQLite driver would not begin one."""

    @event.listens_for(engine.sync_engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _upgrade(connection: Connection, url: str) -> None:
    script = ScriptDirectory.from_config(_config())
    current = MigrationContext.configure(connection).get_current_revision()
    if current == script.get_current_head():
        return
    if current is not None:
        try:
            script.get_revision(current)
        except CommandError:
            raise SchemaError(
                f"the database has schema {current}, which this version does not know; "
                "start the version that wrote it, or a newer one"
            ) from None
        if url.startswith("sqlite"):
            _copy(Path(make_url(url).database or ""), current)
    command.upgrade(_config(connection), "head")


def _copy(file: Path, revision: str) -> None:
    """A consistent copy beside the file, under its final name only when it is whole."""
    copy = file.with_name(f"{file.name}.before-{revision}")
    partial = copy.with_suffix(".part")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with (
        contextlib.closing(sqlite3.connect(file)) as source,
        contextlib.closing(sqlite3.connect(partial)) as target,
    ):
        source.backup(target)
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    partial.replace(copy)
