"""Groups as they are now: footplate.yaml, and over it what administrators changed while the service ran.

A change is checked with all other groups in the transaction that stores it, and against what its author
saw: of two who change one group, the second is told, and nothing is lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from pydantic import BaseModel

from footplate_spec import Group

from ..quota_tree import WrongPlaceError, check_groups
from ..settings import Settings
from ..store import Database, Transaction, groups, jobs
from .context import Refused

__all__ = ["ChangedMeanwhileError", "LiveGroups", "etag_of"]


class ChangedMeanwhileError(Exception):
    """Somebody else changed the group since its author looked; the message is one sentence."""


def etag_of(document: BaseModel) -> str:
    """Names what a group, or anything, is: another one of the same name has another."""
    return hashlib.blake2s(document.model_dump_json().encode(), digest_size=8).hexdigest()


class LiveGroups:
    """All configured groups."""

    def __init__(self, settings: Settings, database: Database | None = None) -> None:
        self._settings = settings
        self._database = database
        self._fixed = {group.name: group for group in settings.groups}
        self._now: dict[str, Group] = dict(self._fixed)

    @property
    def all(self) -> Mapping[str, Group]:
        """Configured groups by name."""
        return self._now

    def group(self, path: str) -> Group:
        """One group; one that only JupyterHub knows has no quotas and the default limits."""
        return self._now.get(path) or Group(name=path)

    async def read(self) -> None:
        """Bring it in step with the store."""
        assert self._database is not None
        async with self._database.read() as connection:
            self._now = self._fixed | await groups.read_groups(connection)

    async def put(self, group: Group, *, seen: str | None, actor: str) -> None:
        """Change a group, or make one.

        Parameters
        ----------
        seen
            `etag_of` what its author saw; None: there is to be no such group yet. ``*``: whatever it is.

        Raises
        ------
        ChangedMeanwhileError
            If it is not what its author saw.
        Refused
            If the groups would not make a tree whose quotas can be kept.
        """

        async def unit(t: Transaction) -> None:
            await groups.lock_groups(t)
            now = self._fixed | await groups.read_groups(t.connection)
            there = now.get(group.name)
            if seen != "*" and (there and etag_of(there)) != seen:
                raise ChangedMeanwhileError(
                    f"group {group.name} is not what it was when you looked: somebody changed it; "
                    "look again and repeat your change"
                )
            self._check({**now, group.name: group})
            await groups.put_group(t, group, actor=actor)

        assert self._database is not None
        await self._database.write(unit)
        await self.read()

    async def delete(self, name: str, actor: str) -> None:
        """Delete a group, or go back to what footplate.yaml says of it.

        Raises
        ------
        Refused
            If jobs of it wait or run and would lose their group, or nothing was changed of it.
        """

        async def unit(t: Transaction) -> None:
            await groups.lock_groups(t)
            now = self._fixed | await groups.read_groups(t.connection)
            left = {path: group for path, group in now.items() if path != name}
            if name in self._fixed:
                left[name] = self._fixed[name]
            elif open_ := await jobs.open_in(t.connection, name):
                raise Refused(
                    f"Group {name} has jobs that wait or run, {open_} of them; move or stop them first."
                )
            self._check(left)
            if not await groups.delete_group(t, name, actor=actor):
                where = (
                    "is in footplate.yaml as it stands; change it there" if name in now else "is not there"
                )
                raise Refused(f"Group {name} {where}.")

        assert self._database is not None
        await self._database.write(unit)
        await self.read()

    def _check(self, groups_: Mapping[str, Group]) -> None:
        try:
            priced = bool(self._settings.prices.flavors)
            check_groups(list(groups_.values()), self._settings.flavors, priced=priced)
        except WrongPlaceError as error:
            raise Refused(str(error)) from None
