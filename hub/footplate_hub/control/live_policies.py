"""Priorities and clusters' policies as they are now: footplate.yaml, and over it what administrators changed.

A change is checked against what its author saw: of two who change one thing, the second is told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from footplate_spec import Priorities, QueuePolicy

from ..quota_tree import check_policy
from ..settings import Settings
from ..store import Database, Transaction, queue_settings
from .context import Refused
from .live_groups import ChangedMeanwhileError, etag_of

__all__ = ["LivePolicies"]

_PRIORITIES = "priorities"


class LivePolicies:
    """What orders those who wait, beside their groups' own policies.

    Parameters
    ----------
    changed
        Lets the queue look again.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database | None = None,
        changed: Callable[[], None] | None = None,
    ) -> None:
        self._database = database
        self._changed = changed
        self._fixed = {cluster.name: cluster.policy or QueuePolicy() for cluster in settings.clusters}
        self._fixed_priorities = Priorities(priorities=settings.priorities)
        self._now, self._priorities = dict(self._fixed), self._fixed_priorities

    @property
    def priorities(self) -> Priorities:
        """Numbers of all priorities."""
        return self._priorities

    @property
    def clusters(self) -> Mapping[str, QueuePolicy]:
        """Every cluster's policy."""
        return self._now

    async def read(self) -> None:
        """Bring it in step with the store."""
        assert self._database is not None
        async with self._database.read() as connection:
            self._take(await queue_settings.read_settings(connection))

    def _take(self, stored: Mapping[str, str]) -> None:
        self._priorities, self._now = self._read(stored)

    def _read(self, stored: Mapping[str, str]) -> tuple[Priorities, dict[str, QueuePolicy]]:
        text = stored.get(_PRIORITIES)
        priorities = Priorities.model_validate_json(text) if text is not None else self._fixed_priorities
        policies = {
            name: QueuePolicy.model_validate_json(stored[_of(name)]) if _of(name) in stored else fixed
            for name, fixed in self._fixed.items()
        }
        return priorities, policies

    async def put_priorities(self, changed: Priorities, *, seen: str, actor: str) -> None:
        """Change the priorities; ``seen`` is `etag_of` what its author saw, ``*`` whatever that is.

        Raises
        ------
        ChangedMeanwhileError
            If they are not what its author saw.
        Refused
            If jobs that wait or run have a priority that would be gone.
        """

        async def unit(t: Transaction) -> None:
            await queue_settings.lock(t)
            now, _ = self._read(await queue_settings.read_settings(t.connection))
            _compare("the priorities are", etag_of(now), seen)
            await _refuse_to_orphan(t, now, changed)
            await queue_settings.put(t, _PRIORITIES, changed, actor=actor)

        await self._write(unit)

    async def put_policy(self, cluster: str, policy: QueuePolicy, *, seen: str, actor: str) -> None:
        """Change a cluster's policy; see `put_priorities`.

        Raises
        ------
        ChangedMeanwhileError
            If it is not what its author saw.
        Refused
            If there is no such order.
        """
        try:
            check_policy(policy, f"cluster {cluster!r}")
        except ValueError as error:
            raise Refused(str(error)) from None

        async def unit(t: Transaction) -> None:
            await queue_settings.lock(t)
            _, now = self._read(await queue_settings.read_settings(t.connection))
            _compare(f"the policy of cluster {cluster} is", etag_of(now[cluster]), seen)
            await queue_settings.put(t, _of(cluster), policy, actor=actor)

        await self._write(unit)

    async def reset_priorities(self, actor: str) -> None:
        """Go back to what footplate.yaml says of priorities.

        Raises
        ------
        Refused
            If jobs that wait or run have a priority that would be gone.
        """

        async def unit(t: Transaction) -> None:
            await queue_settings.lock(t)
            now, _ = self._read(await queue_settings.read_settings(t.connection))
            await _refuse_to_orphan(t, now, self._fixed_priorities)
            await queue_settings.forget(t, _PRIORITIES, actor=actor)

        await self._write(unit)

    async def reset_policy(self, cluster: str, actor: str) -> None:
        """Go back to what footplate.yaml says of a cluster's policy."""

        async def unit(t: Transaction) -> None:
            await queue_settings.lock(t)
            await queue_settings.forget(t, _of(cluster), actor=actor)

        await self._write(unit)

    async def _write(self, unit: Callable[[Transaction], Awaitable[None]]) -> None:
        assert self._database is not None
        await self._database.write(unit)
        await self.read()
        if self._changed is not None:
            self._changed()


def _of(cluster: str) -> str:
    return f"cluster/{cluster}"


def _compare(what: str, now: str, seen: str) -> None:
    if seen not in {"*", now}:
        raise ChangedMeanwhileError(
            f"{what} not what you saw: somebody changed it; look again and repeat your change"
        )


async def _refuse_to_orphan(t: Transaction, before: Priorities, after: Priorities) -> None:
    gone = before.priorities.keys() - after.priorities.keys()
    for name, count in sorted((await queue_settings.open_with(t.connection, gone)).items()):
        raise Refused(f"Priority {name} is that of {count} jobs that wait or run; change or stop them first.")
