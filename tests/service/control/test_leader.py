"""Several services on one PostgreSQL: one leads, and one that stalled writes nothing."""

from __future__ import annotations

import secrets

import pytest
from sqlalchemy import text

from footplate_hub.api.standby import needs_the_leader
from footplate_hub.control import Control
from footplate_hub.control import control as module
from footplate_hub.store import Database
from footplate_hub.store.leader import StaleLeaderError
from support.control import eventually, rig


@pytest.mark.parametrize(
    ("method", "path", "needs"),
    [
        ("GET", "jobs", False),
        ("POST", "jobs", False),
        ("POST", "blobs/missing", False),
        ("POST", "jobs/digits-7k3f9m/cancel", True),
        ("PATCH", "jobs/digits-7k3f9m", True),
        ("POST", "agent/report", True),
        ("GET", "agent/desired", True),
        ("GET", "nodes", True),
        ("GET", "nodesx", False),
        ("PUT", "groups/research", True),
    ],
)
def test_what_stands_by_reads_and_takes_in_jobs_and_leaves_the_rest(method, path, needs):
    assert needs_the_leader(method, path) is needs


async def test_one_leads_the_next_takes_over_and_who_stalled_writes_nothing(
    tmp_path, postgres_server, monkeypatch
):
    monkeypatch.setattr(module, "_LEAD_EVERY", 0.05)
    url = await postgres_server.new_database(f"t{secrets.token_hex(4)}")
    async with rig(tmp_path / "data", url=url) as first:
        database = Database(url)
        await database.start()
        second = Control(first.settings, database, first.tokens, {"local": first.engine})
        await second.start()
        try:
            assert (first.control.leading, second.leading) == (True, False)
            job = await first.submit()
            await first.until(job, "starting")
            # The first does not look for a while: its lock is gone and it does not know.
            first.control._keeping.cancel()
            async with first.database.read() as connection:
                await connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_locks "
                        "WHERE locktype = 'advisory' AND objid = :key AND pid <> pg_backend_pid()"
                    ),
                    {"key": 0x6C656164},
                )
            await eventually(lambda: second.leading)
            with pytest.raises(StaleLeaderError):
                await first.control.cancel(job, "ada")
            assert (await first.job(job)).stopping is None
            more = await first.submit()  # taken in by the one that does not lead
            await first.until(more, "starting")
            await second.cancel(job, "ada")
            assert (await first.job(job)).stopping == "cancelled"
        finally:
            await second.stop()
            await database.close()


async def test_who_loses_the_lead_ends_its_loops_and_says_so(tmp_path, postgres_server, monkeypatch):
    monkeypatch.setattr(module, "_LEAD_EVERY", 0.05)
    url = await postgres_server.new_database(f"t{secrets.token_hex(4)}")
    async with rig(tmp_path / "data", url=url) as only:
        await only.control._lock._connection.close()
        await eventually(lambda: only.control.lost)
        assert not only.control.leading
