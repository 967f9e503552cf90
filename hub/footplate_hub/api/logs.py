"""A replica's output by byte range, while it grows and after."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import Response, StreamingResponse

from footplate_spec import JobSpec

from ..logs import LogId
from ..rooms import Rooms
from ..store import jobs, views
from .callers import Caller, In
from .errors import Refusal, not_found
from .jobs import JobId, visible_job
from .ranges import parse_range

__all__ = ["check_replica", "router"]

router = APIRouter(prefix="/jobs", tags=["logs"])


def check_replica(row: jobs.JobRow, role: str, index: int) -> None:
    """Refuse a replica that the job does not have."""
    spec = JobSpec.model_validate_json(row["spec"])
    counts = {known.name: known.most for known in spec.roles}
    if role not in counts:
        raise Refusal(404, f"{row['id']} has no role {role!r}; it has {', '.join(counts)}", "not_found")
    if index >= counts[role]:
        raise Refusal(404, f"{row['id']} has {counts[role]} replicas of {role}, counted from 0", "not_found")


async def _log_id(
    rooms: Rooms, row: jobs.JobRow, role: str, index: int, *, attempt: int | None, execution: int | None
) -> LogId | None:
    """The log asked for; unset numbers mean the newest. None: nothing was written yet."""
    async with rooms.database.read() as connection:
        if attempt is None:
            attempt = await views.newest_attempt(connection, row["id"])
        place = await views.log_place(connection, row["id"], role, index, least=attempt)
    if place is None or place.number != attempt:
        if not attempt:
            return None
        raise not_found(f"attempt {attempt} of {row['id']}")
    return LogId(place.attempt, role, index, execution or place.execution)


@router.get("/{job}/logs/{role}/{replica}", response_class=Response)
async def log(
    job: JobId,
    role: Annotated[str, Path(max_length=40)],
    replica: Annotated[int, Path(ge=0)],
    rooms: In,
    person: Caller,
    *,
    attempt: Annotated[int | None, Query(ge=1)] = None,
    execution: Annotated[int | None, Query(ge=1)] = None,
    range_: Annotated[str | None, Header(alias="Range")] = None,
) -> Response:
    """Raw bytes; of the newest attempt and execution unless others are named.

    ``Footplate-Log-Gap`` names ranges that were written but are not kept: they are left out.
    """
    row = await visible_job(rooms, person, job)
    check_replica(row, role, replica)
    found = await _log_id(rooms, row, role, replica, attempt=attempt, execution=execution)
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    size = rooms.logs.size(found) if found is not None else 0
    wanted = parse_range(range_, size)
    start, end = wanted or (0, size)
    if found is None:
        return Response(b"", headers=headers, media_type="text/plain; charset=utf-8")
    gaps = rooms.logs.gaps(found)
    if gaps:
        headers["Footplate-Log-Gap"] = ", ".join(f"{a}-{b}" for a, b in gaps)
    if wanted is not None:
        start, end = _outside(gaps, start, end)
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        headers["Content-Length"] = str(end - start)
    return StreamingResponse(
        rooms.logs.read(found, start, end),
        206 if wanted is not None else 200,
        headers=headers,
        media_type="text/plain; charset=utf-8",
    )


def _outside(gaps: list[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """The first part of a range that is kept in one piece, so that its numbers are true."""
    for first, last in gaps:
        if start < first:
            return start, min(end, first)
        start = max(start, last)
    if start >= end:
        raise Refusal(416, "that range is in a gap of the log, which was not kept")
    return start, end
