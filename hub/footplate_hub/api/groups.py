"""Groups and quotas: what one's cost centres may use, use and wait for; the volumes they may mount."""

from __future__ import annotations

from fastapi import APIRouter

from footplate_spec import Group, QuotaUse
from footplate_spec.base import Answer

from .callers import Caller, In
from .checks import volumes_for

__all__ = ["router"]

router = APIRouter(tags=["groups"])


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
        names |= {group.name for group in rooms.settings.groups}
    return [rooms.settings.group(name) for name in sorted(names)]


@router.get("/quota")
async def quota(rooms: In, person: Caller) -> list[QuotaUse]:
    """What one's groups may use, use and wait for."""
    names = set(person.groups)
    if person.admin:
        names |= {group.name for group in rooms.settings.groups}
    return rooms.control.quota_use(sorted(names))


@router.get("/volumes")
async def volumes(rooms: In, person: Caller) -> list[Volume]:
    """Volumes that jobs of one's groups may mount."""
    return [
        Volume(name=volume.name, description=volume.description, path=str(volume.path))
        for volume in volumes_for(rooms, person.groups, admin=person.admin)
    ]
