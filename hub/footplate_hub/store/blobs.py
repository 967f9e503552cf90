"""Which blobs are stored, whose they are, and what refers to them.

A digest is not a capability: every question here is asked for an owner. A blob stays while something
refers to it or somebody holds a lease on it (an upload, a look-up), so that what a client was told is
there is still there when its job is submitted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from . import tables
from .database import Transaction

__all__ = [
    "Lease",
    "MissingBlobError",
    "add",
    "forget",
    "lease",
    "owned",
    "refer",
    "referring_jobs",
    "sweepable",
]

_CHUNK = 500  # SQLite takes a limited number of parameters a statement
_b, _o, _r, _j = tables.blobs, tables.blob_owners, tables.blob_refs, tables.jobs


class MissingBlobError(Exception):
    """A job names a blob that its submitter has not stored."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        super().__init__(f"{digest} is not stored; upload it first")


@dataclass(frozen=True)
class Lease:
    """A blob that somebody owns, and its size in bytes."""

    digest: str
    size: int


def _chunks(digests: Iterable[str]) -> Iterable[list[str]]:
    unique = sorted(set(digests))
    for start in range(0, len(unique), _CHUNK):
        yield unique[start : start + _CHUNK]


async def owned(connection: AsyncConnection, owner: str, digests: Iterable[str]) -> dict[str, int]:
    """Sizes of those digests that ``owner`` has stored."""
    found: dict[str, int] = {}
    for chunk in _chunks(digests):
        statement = (
            select(_b.c.digest, _b.c.size)
            .join(_o, _o.c.digest == _b.c.digest)
            .where(_o.c.owner == owner, _b.c.digest.in_(chunk))
        )
        found |= {row.digest: row.size for row in await connection.execute(statement)}
    return found


async def lease(t: Transaction, owner: str, digests: Iterable[str], until: float) -> dict[str, int]:
    """Sizes of those digests that ``owner`` has stored, which now stay until ``until`` at least."""
    found = await owned(t.connection, owner, digests)
    for chunk in _chunks(found):
        await t.execute(
            update(_o)
            .where(_o.c.owner == owner, _o.c.digest.in_(chunk), _o.c.leased_until < until)
            .values(leased_until=until)
        )
    return found


async def add(t: Transaction, owner: str, sizes: dict[str, int], until: float) -> None:
    """Record blobs whose files are in place as ``owner``'s, leased until ``until``."""
    if not sizes:
        return
    insert_ignoring = sqlite.insert if t.connection.dialect.name == "sqlite" else postgresql.insert
    blobs = insert_ignoring(_b).on_conflict_do_nothing(index_elements=["digest"])
    await t.execute(blobs, [{"digest": d, "size": s, "stored": t.now} for d, s in sizes.items()])
    owners = insert_ignoring(_o)
    owners = owners.on_conflict_do_update(
        index_elements=["digest", "owner"], set_={"leased_until": owners.excluded.leased_until}
    )
    await t.execute(owners, [{"digest": d, "owner": owner, "leased_until": until} for d in sizes])


async def refer(t: Transaction, job: str, digests: Iterable[str]) -> None:
    """Make ``job`` refer to blobs that its owner has stored, in the transaction that names them.

    Raises
    ------
    MissingBlobError
        For the first digest that is not stored, or is another person's: the two look the same.
    """
    wanted = sorted(set(digests))
    if not wanted:
        return
    owner = (await t.execute(select(_j.c.owner).where(_j.c.id == job))).scalar_one()
    found = await owned(t.connection, owner, wanted)
    for digest in wanted:
        if digest not in found:
            raise MissingBlobError(digest)
    insert_ignoring = sqlite.insert if t.connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert_ignoring(_r).on_conflict_do_nothing(index_elements=["digest", "job"])
    await t.execute(statement, [{"digest": digest, "job": job} for digest in wanted])


async def referring_jobs(connection: AsyncConnection, digest: str) -> list[tuple[str, str, str]]:
    """Id, owner and group of the jobs that refer to a blob."""
    statement = (
        select(_j.c.id, _j.c.owner, _j.c.group_path)
        .join(_r, _r.c.job == _j.c.id)
        .where(_r.c.digest == digest)
    )
    return [(row.id, row.owner, row.group_path) for row in await connection.execute(statement)]


async def refers(connection: AsyncConnection, job: str, digest: str) -> int | None:
    """The size of a blob that ``job`` refers to; None if it does not."""
    statement = (
        select(_b.c.size).join(_r, _r.c.digest == _b.c.digest).where(_r.c.job == job, _b.c.digest == digest)
    )
    return (await connection.execute(statement)).scalar_one_or_none()


async def sweepable(connection: AsyncConnection, now: float, limit: int = 1000) -> list[str]:
    """Digests that nothing refers to and nobody holds a lease on."""
    statement = (
        select(_b.c.digest)
        .where(
            ~exists().where(_r.c.digest == _b.c.digest),
            ~exists().where(_o.c.digest == _b.c.digest, _o.c.leased_until > now),
        )
        .limit(limit)
    )
    return list((await connection.execute(statement)).scalars())


async def forget(t: Transaction, digests: Collection[str]) -> list[str]:
    """Forget those of the digests that are still sweepable, and say which: their files may go."""
    gone: list[str] = []
    for chunk in _chunks(digests):
        statement = (
            delete(_b)
            .where(
                _b.c.digest.in_(chunk),
                ~exists().where(_r.c.digest == _b.c.digest),
                ~exists().where(_o.c.digest == _b.c.digest, _o.c.leased_until > t.now),
            )
            .returning(_b.c.digest)
        )
        gone += (await t.execute(statement)).scalars().all()
    return gone


async def count(connection: AsyncConnection) -> int:
    """Blobs stored."""
    return int((await connection.execute(select(func.count()).select_from(_b))).scalar_one())
