"""Maintenance of groups and clusters: nothing of one starts until it is released."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field

from footplate_spec import Hold, Submitted

from ..identity import Person
from ..rooms import Rooms
from ..store import jobs
from ..store.jobs import within
from .callers import Admin, Caller, In, Submitter
from .errors import Refusal

__all__ = ["router"]

router = APIRouter(prefix="/holds", tags=["holds"])
Name = Annotated[str, Path(max_length=200)]


class Held(Submitted):
    """Why nothing starts; shown to everybody who waits for it."""

    what = "a hold"
    why: Annotated[str, Field(min_length=1, max_length=500)] = "maintenance"


@router.get("")
async def holds(rooms: In, person: Caller) -> list[Hold]:
    """Held clusters, and held groups that one is in, is below, or administers."""
    found = await rooms.control.maintenance.holds()
    return [hold for hold in found if hold.kind == "cluster" or _concerns(person, hold.name)]


def _concerns(person: Person, group: str) -> bool:
    return person.runs(group) or any(within(own, [group]) for own in person.groups)


@router.put("/clusters/{name}", status_code=204)
async def hold_cluster(name: Name, asked: Held, rooms: In, person: Admin) -> None:
    """Let nothing start on a cluster; what runs there goes on."""
    _cluster(rooms, name)
    await rooms.control.maintenance.hold("cluster", name, asked.why, person.name)


@router.delete("/clusters/{name}", status_code=204)
async def release_cluster(name: Name, rooms: In, person: Admin) -> None:
    """Let jobs start on a cluster again."""
    await rooms.control.maintenance.release("cluster", name, person.name)


@router.put("/groups/{name:path}", status_code=204)
async def hold_group(name: Name, asked: Held, rooms: In, person: Submitter) -> None:
    """Let nothing of a group and of those below it start; what runs goes on."""
    _group(person, name)
    await _used(rooms, name)
    await rooms.control.maintenance.hold("group", name, asked.why, person.name)


@router.delete("/groups/{name:path}", status_code=204)
async def release_group(name: Name, rooms: In, person: Submitter) -> None:
    """Let jobs of a group start again."""
    _group(person, name)
    await rooms.control.maintenance.release("group", name, person.name)


async def _used(rooms: Rooms, name: str) -> None:
    """A hold of a name that nobody uses would be a slip of the pen that nobody notices."""
    groups = [*rooms.control.groups.all, rooms.settings.default_group]
    if any(within(group, [name]) for group in groups):
        return
    async with rooms.database.read() as connection:
        if not await jobs.group_used(connection, name):
            raise Refusal(404, f"there is no group {name!r} with quotas or jobs")


def _cluster(rooms: Rooms, name: str) -> None:
    clusters = sorted(cluster.name for cluster in rooms.settings.clusters)
    if name not in clusters:
        raise Refusal(404, f"there is no cluster {name!r}; there are {', '.join(clusters)}")


def _group(person: Person, name: str) -> None:
    if not person.runs(name):
        raise Refusal(403, f"only an administrator of group {name!r} or of the platform may do this")
