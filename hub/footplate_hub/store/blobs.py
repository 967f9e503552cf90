"""Which blobs are stored, whose they are, and what refers to them.

A digest is not a capability: every question here is asked for an owner. A blob stays while a job refers
to it, a stored tree contains it, or somebody holds a lease on it (an upload, a look-up), so that what a
client was told is there is still there when its job is submitted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from . import tables
from .database import Transaction

__all__ = [
    "MissingBlobError",
    "add",
    "disown",
    "forget",
    "keep_tree",
    "lease",
    "owned",
    "refer",
    "referring_jobs",
    "refers",
    "stored",
    "sweepable",
]

_CHUNK = 500  # SQLite takes a limited number of parameters a statement
_b, _o, _r, _p, _j = tables.blobs, tables.blob_owners, tables.blob_refs, tables.blob_parts, tables.jobs


class MissingBlobError(Exception):
    """A job names a blob that its owner has not stored.

    Parameters
    ----------
    digest
        The first one that is missing.
    """

    def __init__(self, digest: str) -> None:
        self.digest = digest
        super().__init__(f"{digest} is not stored; upload it first")


def _chunks(digests: Iterable[str]) -> Iterable[list[str]]:
    unique = sorted(set(digests))
    for start in range(0, len(unique), _CHUNK):
        yield unique[start : start + _CHUNK]


def _insert(t: Transaction, table: Any) -> Any:
    """An insert that knows conflicts, which the two databases spell alike but in two modules."""
    return (sqlite if t.connection.dialect.name == "sqlite" else postgresql).insert(table)


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
    blobs = _insert(t, _b).on_conflict_do_nothing(index_elements=["digest"])
    await t.execute(blobs, [{"digest": d, "size": s, "stored": t.now} for d, s in sizes.items()])
    owners = _insert(t, _o)
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
    await refer_many(t, owner, [(job, digest) for digest in wanted])


async def refer_many(t: Transaction, owner: str, references: Collection[tuple[str, str]]) -> None:
    """`refer`, for many jobs of one owner at once: pairs of a job's id and a digest."""
    if not references:
        return
    found = await owned(t.connection, owner, (digest for _, digest in references))
    for _, digest in references:
        if digest not in found:
            raise MissingBlobError(digest)
    statement = _insert(t, _r).on_conflict_do_nothing(index_elements=["digest", "job"])
    await t.execute(statement, [{"digest": digest, "job": job} for job, digest in references])


async def keep_tree(t: Transaction, owner: str, tree: str, files: Collection[str]) -> None:
    """Record that the stored tree ``tree`` contains ``files``, all of them ``owner``'s.

    Raises
    ------
    MissingBlobError
        For the tree, or the first of its files, that ``owner`` has not stored.
    """
    found = await owned(t.connection, owner, [tree, *files])
    for digest in (tree, *sorted(files)):
        if digest not in found:
            raise MissingBlobError(digest)
    if files:
        statement = _insert(t, _p).on_conflict_do_nothing(index_elements=["tree", "digest"])
        await t.execute(statement, [{"tree": tree, "digest": digest} for digest in set(files)])


async def stored(connection: AsyncConnection, digest: str) -> int | None:
    """The size of a blob, whoever's it is. For callers who have settled that it may be read."""
    return (await connection.execute(select(_b.c.size).where(_b.c.digest == digest))).scalar_one_or_none()


async def referring_jobs(connection: AsyncConnection, digest: str) -> list[tuple[str, str]]:
    """Owner and group of the jobs that refer to a blob, directly or by a tree that contains it."""
    trees = select(_p.c.tree).where(_p.c.digest == digest)
    statement = (
        select(_j.c.owner, _j.c.group_path)
        .distinct()
        .join(_r, _r.c.job == _j.c.id)
        .where(or_(_r.c.digest == digest, _r.c.digest.in_(trees)))
    )
    return [(row.owner, row.group_path) for row in await connection.execute(statement)]


async def refers(connection: AsyncConnection, job: str, digest: str) -> bool:
    """Whether ``job`` refers to a blob, directly or by a tree that contains it."""
    trees = select(_p.c.tree).where(_p.c.digest == digest)
    statement = select(exists().where(_r.c.job == job, or_(_r.c.digest == digest, _r.c.digest.in_(trees))))
    return bool((await connection.execute(statement)).scalar_one())


def _unused(now: float) -> list[ColumnElement[bool]]:
    return [
        ~exists().where(_r.c.digest == _b.c.digest),
        ~exists().where(_p.c.digest == _b.c.digest),
        ~exists().where(_o.c.digest == _b.c.digest, _o.c.leased_until > now),
    ]


async def sweepable(connection: AsyncConnection, now: float, limit: int = 500) -> list[str]:
    """Digests that nothing refers to and nobody holds a lease on.

    The files of a tree come up once their tree is gone: sweep until there is nothing left.
    """
    return list((await connection.execute(select(_b.c.digest).where(*_unused(now)).limit(limit))).scalars())


async def forget(t: Transaction, digests: Collection[str]) -> list[str]:
    """Forget those of the digests that are still unused, and say which: their files may go."""
    gone: list[str] = []
    for chunk in _chunks(digests):
        statement = delete(_b).where(_b.c.digest.in_(chunk), *_unused(t.now)).returning(_b.c.digest)
        gone += (await t.execute(statement)).scalars().all()
    return gone


async def disown(t: Transaction, digest: str) -> None:
    """Nobody has this blob any more: its file is damaged. Uploading it again mends it."""
    await t.execute(delete(_o).where(_o.c.digest == digest))
