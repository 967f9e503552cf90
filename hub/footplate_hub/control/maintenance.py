"""Keeping machines, groups and clusters out of use for a while: blocked, drained, held.

What is said is stored first, with who said it. What must go for it is stopped with a checkpoint signal and
its grace, and waits in its old place; so it is after a restart of the service, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from footplate_spec import Cause, CauseCode, Hold, Node

from ..engines import Engine
from ..store import Database, blocks, holds
from ..store.holds import Kind
from .board import Board
from .context import Refused
from .life import Turn
from .turns import Turns

__all__ = ["Maintenance"]


class Maintenance:
    """What administrators keep out of use.

    Parameters
    ----------
    wake
        Lets the queue look again.
    """

    def __init__(
        self,
        database: Database,
        engines: Mapping[str, Engine],
        board: Board,
        turns: Turns,
        wake: Callable[[], None],
    ) -> None:
        self._database = database
        self._engines = engines
        self._board = board
        self._turns = turns
        self._wake = wake

    async def read(self) -> None:
        """Bring the board in step with the engines' machines and what is stored of them."""
        async with self._database.read() as connection:
            blocked = await blocks.read_blocks(connection)
            held = await holds.read_holds(connection)
        nodes = [node for engine in self._engines.values() for node in await engine.nodes()]
        self._board.set_nodes(nodes, blocked)
        self._board.set_holds(held)

    async def block_node(self, cluster: str, name: str, why: str, actor: str, *, evict: bool = True) -> Node:
        """Let nothing start on a node; with ``evict``, what runs there goes back to the queue.

        Raises
        ------
        Refused
            If there is no such node.
        """
        self._node(cluster, name)
        await self._database.write(
            lambda t: blocks.block_node(t, cluster, name, why=why, actor=actor, evict=evict)
        )
        await self.follow()
        return self._node(cluster, name)

    async def unblock_node(self, cluster: str, name: str, actor: str) -> Node:
        """Let a node be used again."""
        self._node(cluster, name)
        await self._database.write(lambda t: blocks.unblock_node(t, cluster, name, actor=actor))
        await self.follow()
        return self._node(cluster, name)

    async def block_address(self, address: str, why: str, actor: str) -> None:
        """Let nothing run on nodes with this address; what runs there goes back to the queue."""
        await self._database.write(lambda t: blocks.block_address(t, address, why=why, actor=actor))
        await self.follow()

    async def unblock_address(self, address: str, actor: str) -> None:
        """Let nodes with this address be used again."""
        await self._database.write(lambda t: blocks.unblock_address(t, address, actor=actor))
        await self.follow()

    async def hold(self, kind: Kind, name: str, why: str, actor: str) -> None:
        """Let nothing of a group, or on a cluster, start; what runs goes on."""
        await self._database.write(lambda t: holds.hold(t, kind, name, why=why, actor=actor))
        await self.follow()

    async def release(self, kind: Kind, name: str, actor: str) -> None:
        """End a hold.

        Raises
        ------
        Refused
            If it is not held.
        """
        if not await self._database.write(lambda t: holds.release(t, kind, name, actor=actor)):
            raise Refused(f"{kind.capitalize()} {name} is not held.")
        await self.follow()

    async def holds(self) -> list[Hold]:
        """All holds."""
        async with self._database.read() as connection:
            return await holds.read_holds(connection)

    def _node(self, cluster: str, name: str) -> Node:
        for node in self._board.nodes():
            if (node.cluster, node.name) == (cluster, name):
                return node
        raise Refused(f"There is no node {name!r} in cluster {cluster!r}.")

    async def follow(self) -> None:
        """Act on what is known now of machines, blocks and holds."""
        await self.read()
        await self.evict()
        self._wake()

    async def evict(self) -> None:
        """Stop what runs where nothing may run any more."""
        for attempt in list(self._board.running.values()):
            live = self._board.attempts.get(attempt.id)
            whys = {
                f"{placement.cluster}/{placement.node}": why
                for placement in attempt.placements
                if (why := self._board.evicting(placement.cluster, placement.node)) is not None
            }
            if live is not None and whys:
                place, why = min(whys.items())
                cause = Cause(
                    code=CauseCode.EVICTED, message=f"{place} was blocked while it ran there: {why}"
                )
                await self._turns.take(live, _evicting(cause))


def _evicting(cause: Cause) -> Callable[[Turn], None]:
    def decide(turn: Turn) -> None:
        if turn.before.live and turn.job.stopping in {None, "gang", "preempted"}:
            turn.note_failure(cause)
            turn.stop("evicted")

    return decide
