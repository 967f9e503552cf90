"""Machines: what they have, and keeping everybody off one, by name or by address."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field

from footplate_spec import Node, Submitted

from .callers import Admin, Caller, In
from .errors import Refusal

__all__ = ["router"]

router = APIRouter(tags=["nodes"])
Part = Annotated[str, Path(max_length=253)]


class Block(Submitted):
    """Why nobody may use it; shown to everybody who waits for it."""

    what = "a block"
    why: Annotated[str, Field(min_length=1, max_length=500)]


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise Refusal(422, f"{text[:60]!r} is not an IP address") from None


@router.get("/nodes")
async def nodes(rooms: In, _: Caller) -> list[Node]:
    """Every machine, with what is in use."""
    return rooms.control.nodes()


@router.post("/nodes/{cluster}/{name}/block")
async def block(cluster: Part, name: Part, asked: Block, rooms: In, person: Admin) -> Node:
    """Let nothing run on a machine; what runs there goes back to the queue."""
    return await rooms.control.maintenance.block_node(cluster, name, asked.why, person.name)


@router.post("/nodes/{cluster}/{name}/drain")
async def drain(cluster: Part, name: Part, asked: Block, rooms: In, person: Admin) -> Node:
    """Let nothing new start on a machine; what runs there goes on to its end."""
    return await rooms.control.maintenance.block_node(cluster, name, asked.why, person.name, evict=False)


@router.post("/nodes/{cluster}/{name}/unblock")
async def unblock(cluster: Part, name: Part, rooms: In, person: Admin) -> Node:
    """Let a machine be used again."""
    return await rooms.control.maintenance.unblock_node(cluster, name, person.name)


@router.put("/addresses/{address}", status_code=204)
async def block_address(address: Part, asked: Block, rooms: In, person: Admin) -> None:
    """Let nothing run on machines with this address."""
    await rooms.control.maintenance.block_address(_address(address), asked.why, person.name)


@router.delete("/addresses/{address}", status_code=204)
async def unblock_address(address: Part, rooms: In, person: Admin) -> None:
    """Let machines with this address be used again."""
    await rooms.control.maintenance.unblock_address(_address(address), person.name)
