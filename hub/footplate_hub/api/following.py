"""One job as it happens, in lines of JSON: its state, why it waits, a replica's output, its metrics.

A follower resumes by attempt, execution and offset, so neither its own death nor the service's makes a
hole. Output goes out as soon as it was written; the state is read when an event says that it changed, and
every second or so besides, so that a missed word is never the last.
"""

from __future__ import annotations

import asyncio
import codecs
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from footplate_spec import JOB_FINAL, FollowItem, JobSpec, JobState, JobSummary, Why

from ..bus import Subscription
from ..identity import IdentityError, Person
from ..logs import LogId
from ..rooms import Rooms
from ..store import jobs, views
from .callers import Again, CallAgain, Caller, In
from .errors import Refusal
from .jobs import JobId, visible_job
from .logs import check_replica
from .why import explain

__all__ = ["Reader", "router"]

router = APIRouter(prefix="/jobs", tags=["jobs"])
TICK = 10.0  # seconds between signs of life
_RECHECK = 60.0  # seconds after which a follower must still be somebody who may see the job
_LOOK = 1.0  # seconds after which the state is read though nothing was heard
_PIECE = 256 * 2**10  # bytes of output a line


@dataclass
class Reader:
    """Where one follower stands.

    Parameters
    ----------
    execution, offset
        Of the log that is being read; the next byte to send.
    """

    rooms: Rooms
    person: Person
    job: str
    role: str
    replica: int
    attempt: int = 0
    execution: int = 1
    offset: int = 0
    points: int = 0
    place: views.LogPlace | None = None
    summary: JobSummary | None = None
    why: Why | None = None
    _pending: bytes = b""
    _sent: float = field(default_factory=time.monotonic)

    async def look(self) -> list[FollowItem]:
        """Read the state; what is new about it."""
        async with self.rooms.database.read() as connection:
            row = await jobs.find(connection, self.job)
            counts = await views.runs_of(connection, row) if row is not None else None
            place = await views.log_place(connection, self.job, self.role, self.replica, least=self.attempt)
        if row is None:
            return [FollowItem(kind="end")]
        if place is not None and place.number != self.attempt:
            self.attempt, self.execution, self.offset, self._pending = place.number, 1, 0, b""
        self.place = place
        items = []
        summary = jobs.summary(row, self.rooms.control.reason(self.job), counts)
        if summary != self.summary:
            self.summary = summary
            items.append(FollowItem(kind="job", job=summary))
        if summary.state in {JobState.QUEUED, JobState.SUSPENDED}:
            why = await explain(self.rooms, self.person, row, foretell=False)
            if why != self.why:
                self.why = why
                why = await explain(self.rooms, self.person, row)
                items.append(FollowItem(kind="why", why=why))
        return items

    async def read_log(self) -> FollowItem | None:
        """The next piece of output, or None when all that is there was sent."""
        if self.place is None:
            return None
        log = LogId(self.place.attempt, self.role, self.replica, self.execution)
        if self.rooms.logs.size(log) <= self.offset + len(self._pending):
            return None
        begin, data = await asyncio.to_thread(
            self.rooms.logs.read_piece, log, self.offset + len(self._pending), _PIECE
        )
        if not data:
            return None
        skipped = begin - self.offset - len(self._pending)
        if skipped > 0:
            self._pending = b""
        text, self._pending = _decoded(self._pending + data)
        end = begin + len(data) - len(self._pending)
        before, self.offset = self.offset, end
        if end == before:
            return None
        extra = {"gap": [begin - skipped, begin]} if skipped > 0 else {}
        return self._line(text, extra)

    def _line(self, text: str, extra: dict[str, list[int]] | None = None) -> FollowItem:
        return FollowItem(
            kind="log",
            attempt=self.attempt,
            role=self.role,
            replica=self.replica,
            execution=self.execution,
            offset=self.offset,
            text=text,
            extra=extra or {},
        )

    def rest(self) -> FollowItem | None:
        """What an execution left of an unfinished character, once nothing more comes."""
        if not self._pending:
            return None
        self.offset += len(self._pending)
        text, self._pending = self._pending.decode("utf-8", "replace"), b""
        return self._line(text)

    def move_on(self) -> bool:
        """Go to the next log once this one is complete; whether there is one to read now."""
        place, summary = self.place, self.summary
        if place is None:
            return False
        if self.execution < place.execution:
            self.execution, self.offset = self.execution + 1, 0
            return True
        if place.ended and summary is not None and summary.attempt > self.attempt:
            self.attempt, self.execution, self.offset, self.place = self.attempt + 1, 1, 0, None
            return True
        return False

    @property
    def complete(self) -> bool:
        """Whether nothing more comes to the log that is being read."""
        place = self.place
        return place is None or place.ended or self.over or self.execution < place.execution

    @property
    def over(self) -> bool:
        """Whether the job has ended, and its replica with it."""
        return self.summary is not None and self.summary.state in JOB_FINAL


def _decoded(data: bytes) -> tuple[str, bytes]:
    """Whole characters, and the bytes of one that is not complete yet."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    return text, decoder.getstate()[0]


async def _news(reader: Reader) -> AsyncIterator[FollowItem]:
    """Output and metrics that were not sent yet."""
    while (item := await reader.read_log()) is not None:
        yield item
    if reader.rooms.metrics.size(reader.job) > reader.points:
        points, reader.points = await reader.rooms.metrics.read(reader.job, reader.points)
        if points:
            yield FollowItem(kind="metrics", metrics=points)


async def _items(reader: Reader, subscription: Subscription) -> AsyncIterator[FollowItem]:
    heard, looked, spoken = True, 0.0, time.monotonic()
    while not subscription.closed:
        if heard or time.monotonic() - looked >= _LOOK:
            looked = time.monotonic()
            for item in await reader.look():
                yield item
                spoken = looked
                if item.kind == "end":
                    return
        complete, over = reader.complete, reader.over  # known before reading: what came since is read, too
        async for item in _news(reader):
            yield item
            spoken = time.monotonic()
        if complete:
            if (rest := reader.rest()) is not None:
                yield rest
            if reader.move_on():
                heard = True
                continue
            if over:
                yield FollowItem(kind="end")
                return
        if time.monotonic() - spoken >= TICK:
            spoken = time.monotonic()
            yield FollowItem(kind="tick")
        await subscription.wait(_LOOK)
        heard = subscription.heard()


async def _lines(reader: Reader, again: Again) -> AsyncIterator[bytes]:
    checked = time.monotonic()
    with reader.rooms.bus.subscribe(subject=reader.job) as subscription:
        async for item in _items(reader, subscription):
            yield item.model_dump_json(exclude_unset=True, by_alias=True).encode() + b"\n"
            if time.monotonic() - checked > _RECHECK:
                checked = time.monotonic()
                if not await _still_sees(reader, again):
                    return


async def _still_sees(reader: Reader, again: Again) -> bool:
    """Whether the follower may still see the job. A hub that is away changes nothing."""
    try:
        person = await again()
        if person is None:
            return False
        await visible_job(reader.rooms, person, reader.job)
    except IdentityError:
        return True
    except Refusal:
        return False
    reader.person = person
    return True


@router.get("/{job}/follow", response_class=StreamingResponse)
async def follow(
    job: JobId,
    rooms: In,
    person: Caller,
    again: CallAgain,
    *,
    role: str | None = None,
    replica: Annotated[int, Query(ge=0)] = 0,
    attempt: Annotated[int | None, Query(ge=0)] = None,
    execution: Annotated[int | None, Query(ge=0)] = None,
    offset: Annotated[int | None, Query(ge=0)] = None,
) -> StreamingResponse:
    """Follow a job to its end: ``FollowItem`` lines.

    Without a place, the output begins with that of the newest attempt.
    """
    row = await visible_job(rooms, person, job)
    role = role or JobSpec.model_validate_json(row["spec"]).roles[0].name
    check_replica(row, role, replica)
    reader = Reader(
        rooms,
        person,
        job,
        role,
        replica,
        attempt=attempt or row["attempt"],
        execution=execution or 1,
        offset=offset or 0,
    )
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_lines(reader, again), headers=headers, media_type="application/x-ndjson")
