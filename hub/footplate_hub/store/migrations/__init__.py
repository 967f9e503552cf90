"""Bring a database to this version's schema, before anything reads it.

A new database gets the tables as the code knows them. An older one is migrated: migrations expand first and
contract a version later, so that services of two neighbouring versions can work on one database. A SQLite
file is copied before it is changed. A database of a newer version is refused, not guessed at.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    event,
    insert,
    inspect,
    select,
    text,
)  # fmt: skip
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from .. import tables

__all__ = ["SchemaError", "upgrade"]

_LOCK = 0x6D696772  # "migr": one service migrates a shared database at a time
_version = Table(  # Alembic's own, to the letter
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


class SchemaError(Exception):
    """The database cannot be used by this version; the message is one sentence for the owner."""


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
    folder = Path(__file__).parent
    revisions = sorted(file.stem.partition("_")[0] for file in (folder / "versions").glob("*.py"))
    current = _revision(connection)
    if current == revisions[-1]:
        return
    if current is None:
        tables.metadata.create_all(connection)
        _version.create(connection)
        connection.execute(insert(_version).values(version_num=revisions[-1]))
        return
    if current not in revisions:
        raise SchemaError(
            f"the database has schema {current}, which this version does not know; "
            "start the version that wrote it, or a newer one"
        )
    if url.startswith("sqlite"):
        _copy(Path(make_url(url).database or ""), current)
    from .steps import migrate

    migrate(connection, folder)


def _revision(connection: Connection) -> str | None:
    """The schema's revision; None for a new database."""
    if not inspect(connection).has_table(_version.name):
        return None
    return connection.execute(select(_version.c.version_num)).scalar_one_or_none()


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
