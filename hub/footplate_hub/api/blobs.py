"""Blobs of people: upload what is missing, in pieces or many at once, and read what one may.

Another person's blob answers exactly like one that does not exist, until one has uploaded the same bytes.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import Field

from footplate_spec.base import Answer, Submitted
from footplate_spec.names import Digest
from footplate_spec.units import format_bytes

from ..blobs import DamagedBlobError, WrongOffsetError
from ..rooms import Rooms
from ..store import blobs as stored
from .callers import Caller, In, Submitter
from .errors import Refusal, not_found
from .ranges import parse_range

__all__ = ["LEASE", "DigestPath", "download", "router", "upload"]

router = APIRouter(prefix="/blobs", tags=["blobs"])
LEASE = 86400.0  # seconds for which an upload or a look-up keeps a blob
DigestPath = Annotated[str, Path(pattern=r"^sha256:[0-9a-f]{64}$")]
_LINE = re.compile(rb"(sha256:[0-9a-f]{64}) (\d{1,12})")


class Digests(Submitted):
    """Digests to look up."""

    what = "a look-up"
    digests: Annotated[list[Digest], Field(max_length=50_000)]


class Missing(Answer):
    """Those that the asker must upload."""

    missing: list[str]


class Stored(Answer):
    """How many blobs were stored."""

    stored: int


@router.post("/missing")
async def missing(asked: Digests, rooms: In, person: Submitter) -> Missing:
    """Which of these must I upload? Those that are there stay for a day."""
    until = time.time() + LEASE
    found = await rooms.database.write(lambda t: stored.lease(t, person.name, asked.digests, until))
    return Missing(missing=[digest for digest in dict.fromkeys(asked.digests) if digest not in found])


@router.post(
    "/batch", status_code=201, openapi_extra={"requestBody": {"content": {"application/octet-stream": {}}}}
)
async def batch(request: Request, rooms: In, person: Submitter) -> Stored:
    """Store many small blobs at once: lines ``<digest> <size>`` with the bytes after each."""
    blobs = _split(await request.body())
    async with rooms.blobs.settle_many(person.name, blobs):
        sizes = {digest: len(data) for digest, data in blobs}
        await rooms.database.write(lambda t: stored.add(t, person.name, sizes, t.now + LEASE))
    return Stored(stored=len(blobs))


def _split(body: bytes) -> list[tuple[str, bytes]]:
    blobs: dict[str, bytes] = {}
    at = 0
    while at < len(body):
        end = body.find(b"\n", at, at + 100)
        found = _LINE.fullmatch(body[at:end]) if end >= 0 else None
        if found is None:
            raise Refusal(422, f"byte {at} does not begin a blob: write '<digest> <size>' and its bytes")
        size = int(found[2])
        data = body[end + 1 : end + 1 + size]
        if len(data) != size:
            raise Refusal(422, "the last blob is cut off; send the batch again")
        blobs[found[1].decode()] = data
        at = end + 1 + size
    return list(blobs.items())


@router.head("/{digest}", include_in_schema=False)
async def head(digest: DigestPath, rooms: In, person: Caller) -> Response:
    """The size of a blob, or how far its upload came."""
    async with rooms.database.read() as connection:
        size = (await stored.owned(connection, person.name, [digest])).get(digest)
    if size is not None:
        return Response(headers={"X-Blob-Size": str(size), "Upload-Offset": str(size)})
    return Response(status_code=404, headers={"Upload-Offset": str(rooms.blobs.offset(person.name, digest))})


@router.put("/{digest}")
async def put(
    digest: DigestPath,
    request: Request,
    rooms: In,
    person: Submitter,
    size: Annotated[int, Header(alias="X-Blob-Size", ge=0)],
    *,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """Upload a blob, or the next piece of one."""
    return await upload(rooms, person.name, digest, offset=offset, size=size, pieces=request.stream())


async def upload(
    rooms: Rooms, owner: str, digest: str, *, offset: int, size: int, pieces: AsyncIterator[bytes]
) -> Response:
    """Take a piece of a blob for ``owner``: 201 when it is complete, 202 while it is not."""
    largest = rooms.settings.limits.blob
    if size > largest:
        raise Refusal(
            413, f"a blob may have {format_bytes(largest)} at most, this one has {format_bytes(size)}"
        )
    found = await rooms.database.write(lambda t: stored.lease(t, owner, [digest], t.now + LEASE))
    if digest in found:
        async for _ in pieces:  # said again after a lost answer
            pass
        return _answer(201, found[digest])
    try:
        complete = await rooms.blobs.receive(owner, digest, offset, size, pieces)
    except WrongOffsetError as error:
        if error.offset != size:
            raise
        complete = True  # all bytes came before the service was stopped
    if not complete:
        return _answer(202, rooms.blobs.offset(owner, digest))
    try:
        async with rooms.blobs.settle(owner, digest, size):
            await rooms.database.write(lambda t: stored.add(t, owner, {digest: size}, t.now + LEASE))
    except FileNotFoundError:  # two requests with the last piece: the other one settled it
        raise WrongOffsetError(size) from None
    return _answer(201, size)


def _answer(status: int, offset: int) -> Response:
    return JSONResponse({"offset": offset}, status, headers={"Upload-Offset": str(offset)})


@router.get("/{digest}", response_class=StreamingResponse)
async def get(
    digest: DigestPath,
    rooms: In,
    person: Caller,
    *,
    range_: Annotated[str | None, Header(alias="Range")] = None,
) -> Response:
    """Bytes of one's own blob, or of one that a job refers to which one may see."""
    async with rooms.database.read() as connection:
        size = await stored.stored(connection, digest)
        own = digest in await stored.owned(connection, person.name, [digest])
        jobs = [] if own else await stored.referring_jobs(connection, digest)
    if size is None or not (own or any(person.viewer.sees(*job) for job in jobs)):
        raise not_found(f"blob {digest}")
    return await download(rooms, digest, size, range_)


async def download(rooms: Rooms, digest: str, size: int, range_: str | None) -> Response:
    """A blob's bytes for somebody who may read it. A damaged one is found here, and disowned."""
    wanted = parse_range(range_, size)
    start, end = wanted or (0, size)
    pieces = _noticing_damage(rooms, digest, rooms.blobs.read(digest, start, end, size))
    first = await anext(pieces, b"")  # what is missing altogether is said with a status

    async def body() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    headers = {"Content-Length": str(end - start), "Accept-Ranges": "bytes", "ETag": f'"{digest}"'}
    headers |= {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store"}
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return StreamingResponse(
        body(), 206 if wanted is not None else 200, headers=headers, media_type="application/octet-stream"
    )


async def _noticing_damage(rooms: Rooms, digest: str, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for piece in pieces:
            yield piece
    except DamagedBlobError:
        rooms.blobs.set_aside(digest)
        rooms.kept_trees.clear()
        await rooms.database.write(lambda t: stored.disown(t, digest))
        raise
