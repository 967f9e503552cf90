"""The event log: a page at a time, or as a stream of server-sent events that resumes where it stopped.

The stream reads the store, which alone decides what one may see and in which order; the bus only says
when to look.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from footplate_spec import Event
from footplate_spec.base import Answer

from ..identity import IdentityError, Person
from ..rooms import Rooms
from ..store import events
from ..store.events import ExpiredError
from .callers import Again, CallAgain, Caller, In
from .errors import Refusal

__all__ = ["router"]

router = APIRouter(prefix="/events", tags=["events"])
_TICK = 10.0  # seconds between signs of life
_RECHECK = 60.0
_TOGETHER = 0.02  # seconds in which events are gathered: a burst is one look at the store
_PAGE = 500


class EventPage(Answer):
    """Events, and the position to go on from."""

    items: list[Event]
    next: int


@router.get("")
async def page(
    rooms: In,
    person: Caller,
    *,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    subject: str | None = None,
    actor: Annotated[str | None, Query(description="The audit trail of one person.")] = None,
) -> EventPage:
    """Events after a position; 410 when those after it are no longer kept."""
    async with rooms.database.read() as connection:
        items, following = await events.page(
            connection, person.viewer, after=after, limit=limit, subject=subject, actor=actor
        )
    return EventPage(items=items, next=following)


@router.get("/stream", response_class=StreamingResponse)
async def stream(
    rooms: In,
    person: Caller,
    again: CallAgain,
    *,
    after: Annotated[int | None, Query(ge=0)] = None,
    last: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> StreamingResponse:
    """Events as they happen; ``id`` is the position. Without one, from now on."""
    if last is not None:
        if not last.isdecimal():
            raise Refusal(422, "Last-Event-ID is not a position")
        after = int(last)
    async with rooms.database.read() as connection:
        if after is None:
            after = await events.newest(connection)
        await events.page(
            connection, person.viewer, after=after, limit=1
        )  # expired: say so before the stream
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        _stream(rooms, person, again, after), headers=headers, media_type="text/event-stream"
    )


async def _stream(rooms: Rooms, person: Person, again: Again, after: int) -> AsyncIterator[bytes]:
    checked = time.monotonic()
    yield f": after {after}\n\n".encode()
    with rooms.bus.subscribe() as subscription:
        while True:
            try:
                async with rooms.database.read() as connection:
                    items, following = await events.page(connection, person.viewer, after=after, limit=_PAGE)
            except ExpiredError:
                yield b'event: expired\ndata: {"code": "expired"}\n\n'
                return
            for item in items:
                yield f"id: {item.seq}\nevent: {item.kind}\ndata: {item.model_dump_json()}\n\n".encode()
            after = following
            if len(items) == _PAGE:
                continue
            if not await subscription.wait(_TICK):
                yield b": tick\n\n"
            if subscription.closed:
                return
            await asyncio.sleep(_TOGETHER)
            subscription.heard()
            if time.monotonic() - checked > _RECHECK:
                checked = time.monotonic()
                try:
                    now = await again()
                except IdentityError:
                    now = person
                if now is None:
                    return
                person = now
