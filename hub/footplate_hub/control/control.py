"""The one door to the loops that move the world: everything the API asks of them goes through here."""

from __future__ import annotations

from collections.abc import Collection

from footplate_spec import Desired, Node, QuotaUse, Reason, Report

from ..settings import Settings
from ..store import Database
from ..tokens import ReplicaId, ReplicaTokens
from .context import ReplicaContext

__all__ = ["Control"]


class Control:
    """Dispatcher, reconciler and what agents are answered.

    Parameters
    ----------
    database
        Started, with its schema in place.
    """

    def __init__(self, settings: Settings, database: Database, tokens: ReplicaTokens) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Find again what runs, and begin."""

    async def stop(self) -> None:
        """End the loops; replicas go on."""

    def wake(self) -> None:
        """Look at the store soon: a job was submitted or edited."""

    def reason(self, job: str) -> Reason | None:
        """Why a job waits, as of the last pass; none when it does not wait."""
        raise NotImplementedError

    def position(self, job: str) -> tuple[int, list[str]] | None:
        """The place in line, from 1, and the jobs ahead; none when it does not wait."""
        raise NotImplementedError

    async def cancel(self, job: str, actor: str) -> None:
        """End a job for good.

        Raises
        ------
        Refused
            If it has ended already.
        """

    async def suspend(self, job: str, actor: str) -> None:
        """Stop a job until it is resumed.

        Raises
        ------
        Refused
            If its state does not allow it.
        """

    async def resume(self, job: str, actor: str) -> None:
        """Let a suspended job wait in line again.

        Raises
        ------
        Refused
            If it is not suspended.
        """

    async def extend(self, job: str, time_limit: int, actor: str) -> None:
        """Change the time limit of a job that runs; the caller has checked the group's maximum.

        Raises
        ------
        Refused
            If it does not run.
        """

    def nodes(self) -> list[Node]:
        """Every machine, with what is in use."""
        raise NotImplementedError

    def quota_use(self, groups: Collection[str]) -> list[QuotaUse]:
        """Limits, use and demand of these groups, on every flavor that they use or that limits them."""
        raise NotImplementedError

    async def block_node(self, cluster: str, name: str, why: str, actor: str) -> Node:
        """Let nothing run on a node; what runs there goes back to the queue.

        Raises
        ------
        Refused
            If there is no such node.
        """
        raise NotImplementedError

    async def unblock_node(self, cluster: str, name: str, actor: str) -> Node:
        """Let a node be used again."""
        raise NotImplementedError

    async def block_address(self, address: str, why: str, actor: str) -> None:
        """Let nothing run on nodes with this address; what runs there goes back to the queue."""

    async def unblock_address(self, address: str, actor: str) -> None:
        """Let nodes with this address be used again."""

    async def identify(self, replica: ReplicaId) -> ReplicaContext | None:
        """Who a verified token belongs to; none when its attempt has ended."""
        raise NotImplementedError

    async def report(self, replica: ReplicaId, report: Report) -> Desired:
        """Take in what an agent tells; what it changes is committed before the answer."""
        raise NotImplementedError

    async def desired(self, replica: ReplicaId, tag: str, wait: float) -> Desired:
        """What is wanted of a replica: now if ``tag`` differs, else after a change or ``wait`` seconds."""
        raise NotImplementedError
