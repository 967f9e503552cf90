"""How a job gets into the queue: checked, then stored with its event and its blobs in one transaction.

The same idempotency key is the same job, whatever was cut off in between; the same key with another job
is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from footplate_spec import JobSpec

from ..identity import Person
from ..queue.quota import lineage
from ..rooms import Rooms
from ..store import Transaction, blobs, jobs, secrets
from .after import check_after
from .checks import blobs_of, check, secret_names, time_limit_of
from .errors import Refusal
from .trees import keep_tree

__all__ = ["submit"]


async def submit(
    rooms: Rooms, person: Person, specs: Sequence[JobSpec], keys: Sequence[str | None]
) -> tuple[list[str], bool]:
    """Queue jobs, all or none; their ids in order, and whether any is new.

    Raises
    ------
    Refusal, MissingBlobError, DiskFullError
        With the first thing that is wrong; nothing is queued.
    """
    rooms.blobs.check_space(0)
    new = [_checked(rooms, person, spec, key) for spec, key in zip(specs, keys, strict=True)]
    trees = {job.spec.source.workspace.digest for job in new if job.spec.source.workspace is not None}
    for tree in trees:
        await keep_tree(rooms, person.name, tree, largest=rooms.settings.limits.workspace)

    async def unit(t: Transaction) -> tuple[list[str], bool]:
        given = [job.key for job in new if job.key is not None]
        known = await jobs.by_key(t.connection, person.name, given) if given else {}
        ids: dict[int, str] = {}
        for place, job in enumerate(new):
            if job.key is not None and (row := known.get(job.key)) is not None:
                if row["idempotency_digest"] != job.digest:
                    raise Refusal(
                        409,
                        f"this idempotency key was used for another job, {row['id']}; use a new key",
                        "key_reused",
                    )
                ids[place] = row["id"]
        fresh = [place for place in range(len(new)) if place not in ids]
        if fresh:
            made = await _insert(rooms, t, person, [new[place] for place in fresh])
            ids |= dict(zip(fresh, made, strict=True))
        return [ids[place] for place in range(len(new))], bool(fresh)

    result = await rooms.database.write(unit)
    rooms.control.wake()
    return result


def _checked(rooms: Rooms, person: Person, spec: JobSpec, key: str | None) -> jobs.NewJob:
    checked = check(rooms, person, spec)
    assert checked.group is not None
    return jobs.NewJob(checked, time_limit_of(rooms, checked.group, checked), key)


async def _insert(rooms: Rooms, t: Transaction, person: Person, new: Sequence[jobs.NewJob]) -> list[str]:
    await _room_in_line(rooms, t, person, len(new))
    await _room_in_groups(rooms, t, person, [job.spec.group or "" for job in new])
    for group in {job.spec.group for job in new}:
        named = {name for job in new if job.spec.group == group for name in secret_names(job.spec)}
        await check_secrets(t, person.name, group or "", named)
    for job in new:
        await check_after(t, person, job.spec.after)
    made = await jobs.insert_jobs(t, person.name, new)
    references = [
        (job, digest)
        for job, made_of in zip(made, new, strict=True)
        for digest in dict.fromkeys(blobs_of(made_of.spec))
    ]
    await blobs.refer_many(t, person.name, references)
    return made


async def _room_in_line(rooms: Rooms, t: Transaction, person: Person, more: int) -> None:
    """Hold the limit of jobs a person; counted only where the upper bound kept in memory passes it."""
    limit = rooms.settings.limits.queued_per_person
    bound = rooms.in_line.get(person.name)
    if bound is None or bound + more > limit:
        bound = await jobs.unfinished_of(t.connection, person.name)
    if bound + more > limit:
        rooms.in_line[person.name] = bound
        raise Refusal(
            429, f"you may have {limit} jobs waiting or running at one time; wait for some to end", "too_many"
        )
    rooms.in_line[person.name] = bound + more


async def _room_in_groups(rooms: Rooms, t: Transaction, person: Person, groups: Sequence[str]) -> None:
    """Hold the limits of jobs a person within the groups, and those above them."""
    more = Counter(holder for group in groups for holder in lineage(group))
    for holder, count in sorted(more.items()):
        limit = rooms.control.groups.group(holder).per_person.queued
        if limit is None:
            continue
        there = await jobs.unfinished_in(t.connection, person.name, holder)
        if there + count > limit:
            raise Refusal(
                429,
                f"one person may have {limit} jobs waiting or running in group {holder}, and you have "
                f"{there}; wait for some to end",
                "too_many",
            )


async def check_secrets(t: Transaction, owner: str, group: str, names: set[str]) -> None:
    """Refuse names under which neither the person nor the group has stored a secret."""
    if not names:
        return
    found = await secrets.sealed_for(t.connection, owner, group, names)
    for name in sorted(names):
        if name not in found:
            raise Refusal(
                422,
                f"there is no secret {name!r} for you or group {group}; store it with "
                f"'footplate secrets put {name}'",
                "secret_missing",
            )
