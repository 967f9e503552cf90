"""Nodes and addresses that nobody may use, who said so, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from footplate_spec.events import EventKind

from . import tables
from .database import Transaction

__all__ = ["Block", "Blocks", "block_address", "block_node", "read_blocks", "unblock_address", "unblock_node"]

_n, _d = tables.node_blocks, tables.address_blocks


@dataclass(frozen=True, slots=True)
class Block:
    """Why nothing starts on a node, and whether what runs there must go."""

    why: str
    evict: bool = True


@dataclass(frozen=True)
class Blocks:
    """What is said of each blocked node (by cluster and name) and of each blocked address."""

    nodes: Mapping[tuple[str, str], Block] = field(default_factory=dict)
    addresses: Mapping[str, Block] = field(default_factory=dict)

    def of(self, cluster: str, name: str, address: str) -> Block | None:
        """What is said of a node, if it is blocked; a block that evicts says more than one that does not."""
        found = [self.nodes.get((cluster, name)), self.addresses.get(address)]
        return max((block for block in found if block), key=lambda block: block.evict, default=None)


async def read_blocks(connection: AsyncConnection) -> Blocks:
    """All blocks."""
    nodes = {
        (row.cluster, row.name): Block(row.why, row.evict) for row in await connection.execute(select(_n))
    }
    addresses = {row.address: Block(row.why) for row in await connection.execute(select(_d))}
    return Blocks(nodes, addresses)


async def block_node(
    t: Transaction, cluster: str, name: str, *, why: str, actor: str, evict: bool = True
) -> None:
    """Block or drain a node; what is said later replaces what was said before."""
    await t.execute(delete(_n).where(_n.c.cluster == cluster, _n.c.name == name))
    values = {"cluster": cluster, "name": name, "why": why, "actor": actor, "time": t.now, "evict": evict}
    await t.execute(insert(_n).values(values))
    kind = EventKind.NODE_BLOCKED if evict else EventKind.NODE_DRAINED
    t.record(kind, f"{cluster}/{name}", actor=actor, data={"why": why})


async def unblock_node(t: Transaction, cluster: str, name: str, *, actor: str) -> None:
    """Unblock a node; nothing happens where it was not blocked."""
    gone = await t.execute(delete(_n).where(_n.c.cluster == cluster, _n.c.name == name))
    if gone.rowcount:
        t.record(EventKind.NODE_UNBLOCKED, f"{cluster}/{name}", actor=actor)


async def block_address(t: Transaction, address: str, *, why: str, actor: str) -> None:
    """Block every node with an address."""
    await t.execute(delete(_d).where(_d.c.address == address))
    await t.execute(insert(_d).values(address=address, why=why, actor=actor, time=t.now))
    t.record(EventKind.ADDRESS_BLOCKED, address, actor=actor, data={"why": why})


async def unblock_address(t: Transaction, address: str, *, actor: str) -> None:
    """Unblock an address; nothing happens where it was not blocked."""
    gone = await t.execute(delete(_d).where(_d.c.address == address))
    if gone.rowcount:
        t.record(EventKind.ADDRESS_UNBLOCKED, address, actor=actor)
