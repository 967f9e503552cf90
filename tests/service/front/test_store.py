"""The schema on both databases, its copy before a migration, and documents that are committed."""

from __future__ import annotations

import json
import secrets
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from footplate_hub.commands.schema import documents, text_of
from footplate_hub.store import migrations, tables
from footplate_hub.store.migrations import SchemaError, upgrade
from support.postgres import Postgres


async def differences(url: str) -> list[object]:
    def compare(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), tables.metadata))

    engine = create_async_engine(url)
    async with engine.connect() as connection:
        found = await connection.run_sync(compare)
    await engine.dispose()
    return found


async def test_the_migrations_make_the_tables_that_the_code_knows(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'new.sqlite'}"
    await upgrade(url)
    await upgrade(url)
    assert await differences(url) == []


async def test_they_make_the_same_on_postgresql(postgres_server: Postgres) -> None:
    url = await postgres_server.new_database(f"t{secrets.token_hex(4)}")
    await upgrade(url)
    await upgrade(url)
    assert await differences(url) == []


async def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "new.sqlite"
    url = f"sqlite+aiosqlite:///{file}"
    await upgrade(url)
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaError, match="9999"):
        await upgrade(url)


async def test_sqlite_is_copied_before_it_is_changed_and_a_failed_migration_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "old.sqlite"
    url = f"sqlite+aiosqlite:///{file}"
    await upgrade(url)
    with sqlite3.connect(file) as connection:
        connection.execute("INSERT INTO blobs VALUES ('sha256:x', 1, 1.0)")
    second = tmp_path / "migrations"
    (second / "versions").mkdir(parents=True)
    source = Path(migrations.__file__).parent
    versions = sorted(path.name for path in (source / "versions").glob("*.py"))
    for name in ("env.py", "script.py.mako", *(f"versions/{name}" for name in versions)):
        (second / name).write_text((source / name).read_text())
    head = versions[-1].partition("_")[0]
    (second / "versions/9999_next.py").write_text(
        "from alembic import op\nimport sqlalchemy as sa\n"
        f"revision = '9999'\ndown_revision = '{head}'\n"
        "def upgrade():\n"
        "    op.create_table('half', sa.Column('x', sa.Integer))\n"
        "    raise RuntimeError('killed here')\n"
    )
    monkeypatch.setattr(migrations, "__file__", str(second / "__init__.py"))
    with pytest.raises(RuntimeError, match="killed here"):
        await upgrade(url)
    copy = tmp_path / f"old.sqlite.before-{head}"
    with sqlite3.connect(copy) as copied, sqlite3.connect(file) as now:
        assert copied.execute("SELECT digest FROM blobs").fetchall() == [("sha256:x",)]
        assert now.execute("SELECT name FROM sqlite_master WHERE name = 'half'").fetchall() == []
    assert copy.stat().st_mode & 0o777 == 0o600


def test_the_committed_documents_are_those_of_the_code() -> None:
    docs = Path(__file__).parents[3] / "docs"
    for name, document in documents().items():
        assert (docs / name).read_text(encoding="utf-8") == text_of(document), (
            f"run 'footplate schema': {name}"
        )
    assert json.loads((docs / "openapi.json").read_text())["paths"]["/jobs"]


async def test_everything_a_person_reads_has_been_committed(tmp_path: Path) -> None:
    """WAL and a full sync on every commit: an answer is a promise."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'new.sqlite'}"
    await upgrade(url)
    from footplate_hub.store import Database

    database = Database(url)
    await database.start()
    async with database._writing.connect() as connection:
        mode = (await connection.execute(text("PRAGMA journal_mode"))).scalar_one()
        sync = (await connection.execute(text("PRAGMA synchronous"))).scalar_one()
    await database.close()
    assert (mode, sync) == ("wal", 2)
