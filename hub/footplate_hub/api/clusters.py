"""Priorities, and clusters with their policies: changed for good, over footplate.yaml."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Response
from pydantic import BaseModel

from footplate_spec import Cluster, Priorities, QueuePolicy

from ..control.live_groups import etag_of
from ..rooms import Rooms
from .callers import Admin, Caller, In
from .errors import Refusal

__all__ = ["router"]

router = APIRouter(tags=["queue"])
Name = Annotated[str, Path(max_length=200)]
Seen = Annotated[str | None, Header(alias="If-Match", max_length=100)]


@router.get("/priorities")
async def priorities(rooms: In, _: Caller, response: Response) -> Priorities:
    """The platform's priorities; their ``ETag`` is what a change of them names in ``If-Match``."""
    _mark(rooms.control.policies.priorities, response)
    return rooms.control.policies.priorities


@router.put("/priorities")
async def put_priorities(
    changed: Priorities, rooms: In, person: Admin, response: Response, *, seen: Seen = None
) -> Priorities:
    """Change the priorities, of jobs that wait and run, too; ``If-Match`` names what one saw."""
    await rooms.control.policies.put_priorities(changed, seen=_seen(seen), actor=person.name)
    _mark(changed, response)
    return changed


@router.delete("/priorities", status_code=204)
async def reset_priorities(rooms: In, person: Admin) -> None:
    """Go back to the priorities of footplate.yaml."""
    await rooms.control.policies.reset_priorities(person.name)


@router.get("/clusters")
async def clusters(rooms: In, _: Caller) -> list[Cluster]:
    """All clusters."""
    holds = await rooms.control.maintenance.holds()
    held = {hold.name: hold.why for hold in holds if hold.kind == "cluster"}
    found = sorted(rooms.control.policies.clusters.items())
    return [Cluster(name=name, policy=policy, held=held.get(name)) for name, policy in found]


@router.get("/clusters/{name}/policy")
async def policy(name: Name, rooms: In, _: Caller, response: Response) -> QueuePolicy:
    """How those who wait for a cluster are ordered; its ``ETag`` is what a change of it names."""
    found = _policy(rooms, name)
    _mark(found, response)
    return found


@router.put("/clusters/{name}/policy")
async def put_policy(
    name: Name, changed: QueuePolicy, rooms: In, person: Admin, response: Response, *, seen: Seen = None
) -> QueuePolicy:
    """Change how those who wait for a cluster are ordered; ``If-Match`` names what one saw."""
    _policy(rooms, name)
    await rooms.control.policies.put_policy(name, changed, seen=_seen(seen), actor=person.name)
    _mark(changed, response)
    return changed


@router.delete("/clusters/{name}/policy", status_code=204)
async def reset_policy(name: Name, rooms: In, person: Admin) -> None:
    """Go back to what footplate.yaml says of a cluster."""
    _policy(rooms, name)
    await rooms.control.policies.reset_policy(name, person.name)


def _policy(rooms: Rooms, cluster: str) -> QueuePolicy:
    known = rooms.control.policies.clusters
    if cluster not in known:
        raise Refusal(404, f"there is no cluster {cluster!r}; there are {', '.join(sorted(known))}")
    return known[cluster]


def _seen(seen: str | None) -> str:
    if seen is None:
        raise Refusal(428, "send If-Match with the ETag of what you saw, so that nobody's change is lost")
    return seen.strip('"')


def _mark(model: BaseModel, response: Response) -> None:
    response.headers["ETag"] = f'"{etag_of(model)}"'
