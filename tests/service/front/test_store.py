"""The schema on both databases, its copy before a migration, and documents that are committed."""

from __future__ import annotations

import json
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from footplate_hub.commands.schema import documents, text_of
from footplate_hub.store import migrations, tables
from footplate_hub.store.migrations import SchemaError, upgrade
from footplate_hub.store.migrations.steps import migrate
from support.postgres import Postgres

HEAD = sorted((Path(migrations.__file__).parent / "versions").glob("*.py"))[-1].stem.partition("_")[0]


async def migrated(url: str) -> list[object]:
    """Run every migration on an empty database; what Alembic then still finds different from the tables."""

    def step_by_step(connection: Connection) -> list[object]:
        folder = Path(migrations.__file__).parent
        migrate(connection, folder)
        return list(compare_metadata(MigrationContext.configure(connection), tables.metadata))

    engine = create_async_engine(url)
    async with engine.begin() as connection:
        found = await connection.run_sync(step_by_step)
    await engine.dispose()
    return found


def schema_of(file: Path) -> dict[str, object]:
    """Every column, key and index of a SQLite file."""
    with closing(sqlite3.connect(file)) as connection:
        ask = connection.execute
        names = [name for (name,) in ask("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found: dict[str, object] = {}
        for name in names:
            found[name] = {row[1:] for row in ask(f"PRAGMA table_xinfo({name})")}
            found[f"{name} keys"] = {row[2:] for row in ask(f"PRAGMA foreign_key_list({name})")}
            for _, index, unique, _, partial in ask(f"PRAGMA index_list({name})").fetchall():
                columns = tuple(row[2] for row in ask(f"PRAGMA index_info({index})"))
                where = ask("SELECT sql FROM sqlite_master WHERE name = ?", (index,)).fetchone()[0]
                condition = where.partition("WHERE")[2] if where else ""
                label = index if where else "by itself"
                found[f"{name} {label} {columns}"] = (unique, partial, condition)
        return found


async def test_migrations_and_a_new_database_come_to_the_same(tmp_path: Path) -> None:
    old, new = tmp_path / "old.sqlite", tmp_path / "new.sqlite"
    assert await migrated(f"sqlite+aiosqlite:///{old}") == []
    for _ in range(2):
        await upgrade(f"sqlite+aiosqlite:///{new}")
        await upgrade(f"sqlite+aiosqlite:///{old}")
    assert schema_of(old) == schema_of(new)


async def test_they_come_to_the_same_on_postgresql(postgres_server: Postgres) -> None:
    old, new = [await postgres_server.new_database(f"t{secrets.token_hex(4)}") for _ in range(2)]
    assert await migrated(old) == []
    await upgrade(new)
    await upgrade(new)
    columns = text(
        "SELECT table_name, column_name, data_type, is_nullable, column_default "
        "FROM information_schema.columns WHERE table_schema = 'public'"
    )
    indexes = text("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'")
    keys = text(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE contype IN ('f', 'u', 'c', 'p') AND connamespace = 'public'::regnamespace"
    )
    schemas = []
    for url in (old, new):
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            schemas.append([set(await connection.execute(asked)) for asked in (columns, indexes, keys)])
        await engine.dispose()
    for migrated_one, new_one in zip(*schemas, strict=True):
        assert sorted(map(str, migrated_one ^ new_one)) == []


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


async def test_what_ended_before_there_were_budgets_counts(tmp_path: Path) -> None:
    file = tmp_path / "old.sqlite"
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as old:
        migrate(old, Path(migrations.__file__).parent, "0009")
        old.execute(
            text(
                "INSERT INTO jobs (id, owner, group_path, name, state, priority, place, spec, replicas, gpu, "
                "declared, time_limit, attempt, restarts, submitted) "
                "VALUES ('j', 'ada', 'a', 'j', 'failed', 'normal', 1, '{}', 2, 4, 0, 60, 2, 0, 1)"
            )
        )
        for number, started, ended in ((1, 10.0, 30.0), (2, None, 40.0), (3, 50.0, None)):
            old.execute(
                text(
                    "INSERT INTO attempts (id, job, number, cluster, created, started, ended, removed) "
                    "VALUES (:id, 'j', :number, 'local', 1, :started, :ended, 1)"
                ),
                {"id": f"j-a{number}", "number": number, "started": started, "ended": ended},
            )
    engine.dispose()
    await upgrade(f"sqlite+aiosqlite:///{file}")
    with sqlite3.connect(file) as now:
        assert now.execute("SELECT * FROM spending").fetchall() == [("j-a1", "a", 4, 0.0, 10.0, 30.0)]
        assert now.execute("SELECT DISTINCT gpu, price FROM attempts").fetchall() == [(4, 0.0)]


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
