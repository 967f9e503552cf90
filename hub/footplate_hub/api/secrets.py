"""Secrets: stored sealed, named by jobs, never read back.

A person's secrets are the person's. A group's may be stored, replaced and deleted by anyone in the group:
its jobs can read them all the same, and the audit trail has who did what. A job finds the own secret of a
name before the group's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field

from footplate_spec import Submitted
from footplate_spec.base import Answer
from footplate_spec.names import GroupPath

from ..identity import Person
from ..store import secrets
from .callers import Caller, In, Submitter
from .errors import Refusal, not_found

__all__ = ["router"]

router = APIRouter(prefix="/secrets", tags=["secrets"])
SecretName = Annotated[str, Path(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]


class NewSecret(Submitted):
    """A secret's value, for oneself or for a group."""

    what = "a secret"
    value: Annotated[str, Field(min_length=1, max_length=100_000, repr=False)]
    group: GroupPath | None = None


class SecretView(Answer):
    """That there is a secret."""

    name: str
    group: str | None = None
    updated: datetime


def _holder(person: Person, group: str | None) -> str:
    if group is None:
        return secrets.user_holder(person.name)
    if group not in person.groups and not person.admin:
        raise Refusal(403, f"you are not in group {group!r}", "group")
    return secrets.group_holder(group)


@router.get("")
async def names(rooms: In, person: Caller) -> list[SecretView]:
    """The names of one's own secrets and of those of one's groups."""
    holders = [secrets.user_holder(person.name), *map(secrets.group_holder, person.groups)]
    async with rooms.database.read() as connection:
        found = await secrets.names_of(connection, holders)
    return [
        SecretView(name=held.name, group=held.group, updated=datetime.fromtimestamp(held.updated, UTC))
        for held in found
    ]


@router.put("/{name}", status_code=204)
async def put(name: SecretName, secret: NewSecret, rooms: In, person: Submitter) -> None:
    """Store or replace a secret."""
    holder = _holder(person, secret.group)
    sealed = rooms.sealing.seal(secret.value)
    await rooms.database.write(lambda t: secrets.put(t, holder, name, sealed, person.name))


@router.delete("/{name}", status_code=204)
async def delete(name: SecretName, rooms: In, person: Submitter, *, group: str | None = None) -> None:
    """Delete a secret; jobs that name it and have not started will say that it is missing."""
    holder = _holder(person, group)
    if not await rooms.database.write(lambda t: secrets.remove(t, holder, name, person.name)):
        raise not_found(f"secret {name!r}")
