"""Nodes and addresses that nobody may use, who said so, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from footplate_spec.events import EventKind

from . import tables
from .database import Transaction

__all__ = ["Blocks", "block_address", "block_node", "read_blocks", "unblock_address", "unblock_node"]

_n, _d = tables.node_blocks, tables.address_blocks


@dataclass(frozen=True)
class Blocks:
    """Why each blocked node (by cluster and name) and each blocked address is blocked."""

    nodes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)

    def of(self, cluster: str, name: str, address: str) -> str | None:
        """Why a node is blocked, if it is."""
        return self.nodes.get((cluster, name)) or self.addresses.get(address)


async def read_blocks(connection: AsyncConnection) -> Blocks:
    """All blocks."""
    nodes = {(row.cluster, row.name): row.why for row in await connection.execute(select(_n))}
    addresses = {row.address: row.why for row in await connection.execute(select(_d))}
    return Blocks(nodes, addresses)


async def block_node(t: Transaction, cluster: str, name: str, *, why: str, actor: str) -> None:
    """Block a node; a later reason replaces an earlier one."""
    await t.execute(delete(_n).where(_n.c.cluster == cluster, _n.c.name == name))
    await t.execute(insert(_n).values(cluster=cluster, name=name, why=why, actor=actor, time=t.now))
    t.record(EventKind.NODE_BLOCKED, f"{cluster}/{name}", actor=actor, data={"why": why})


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
