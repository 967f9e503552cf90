"""Groups and quotas: what one's cost centres may use, use and wait for; the volumes they may mount."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Response

from footplate_spec import BudgetUse, Group, QuotaUse
from footplate_spec.base import Answer

from ..control.live_groups import etag_of
from ..identity import Person
from ..queue.quota import lineage
from .callers import Caller, In, Submitter
from .checks import volumes_for
from .errors import Refusal, not_found

__all__ = ["router"]

router = APIRouter(tags=["groups"])
Path_ = Annotated[str, Path(max_length=200)]


class Volume(Answer):
    """A folder that jobs may mount."""

    name: str
    description: str
    path: str


@router.get("/groups")
async def groups(rooms: In, person: Caller) -> list[Group]:
    """The groups that one is in, with their limits; for administrators all that are configured too."""
    names = set(person.groups)
    if person.admin:
        names |= set(rooms.control.groups.all)
    return [rooms.control.groups.group(name) for name in sorted(names)]


@router.get("/groups/{name:path}")
async def group(name: Path_, rooms: In, person: Caller, response: Response) -> Group:
    """One group; its ``ETag`` is what a change of it names in ``If-Match``."""
    if name not in person.groups and not person.runs(name):
        raise not_found(f"group {name!r}")
    if name in rooms.control.groups.all:
        response.headers["ETag"] = f'"{etag_of(rooms.control.groups.group(name))}"'
    return rooms.control.groups.group(name)


@router.put("/groups/{name:path}")
async def put(
    name: Path_,
    changed: Group,
    rooms: In,
    person: Submitter,
    response: Response,
    *,
    seen: Annotated[str | None, Header(alias="If-Match", max_length=100)] = None,
) -> Group:
    """Change a group for good, over footplate.yaml; ``If-Match`` names what one saw, unless it is new."""
    _may_change(person, name)
    if changed.name != name:
        raise Refusal(422, f"the group is named {changed.name!r} and its address {name!r}; write one of them")
    if seen is None and name in rooms.control.groups.all:
        raise Refusal(428, "send If-Match with the ETag of what you saw, so that nobody's change is lost")
    seen = seen.strip('"') if seen is not None else None
    await rooms.control.put_group(changed, seen=seen, actor=person.name)
    response.headers["ETag"] = f'"{etag_of(changed)}"'
    return changed


@router.delete("/groups/{name:path}", status_code=204)
async def delete(name: Path_, rooms: In, person: Submitter) -> None:
    """Delete a group that is not in footplate.yaml; of one that is, forget what was changed since."""
    _may_change(person, name)
    await rooms.control.delete_group(name, person.name)


def _may_change(person: Person, group: str) -> None:
    """What a group may use is its parent's to say."""
    parent = group.rpartition("/")[0]
    if not (person.admin or (parent and person.runs(parent))):
        above = f"of {parent!r} or of the platform" if parent else "of the platform"
        raise Refusal(403, f"only an administrator {above} may change group {group!r}")


@router.get("/quota")
async def quota(rooms: In, person: Caller) -> list[QuotaUse]:
    """What one's groups may use, use and wait for."""
    names = set(person.groups)
    if person.admin:
        names |= set(rooms.control.groups.all)
    return rooms.control.quota_use(sorted(names))


@router.get("/budgets")
async def budgets(rooms: In, person: Caller) -> list[BudgetUse]:
    """Budgets that one's groups spend from: their own and those of groups above them."""
    names = {holder for group in person.groups for holder in lineage(group)}
    if person.admin:
        names |= set(rooms.control.groups.all)
    return rooms.control.budget_use(sorted(names))


@router.get("/volumes")
async def volumes(rooms: In, person: Caller) -> list[Volume]:
    """Volumes that jobs of one's groups may mount."""
    return [
        Volume(name=volume.name, description=volume.description, path=str(volume.path))
        for volume in volumes_for(rooms, person.groups, admin=person.admin)
    ]
