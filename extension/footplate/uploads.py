"""Bytes on their way to the service and back: content-addressed, resumable, checked at both ends."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

import httpx

from .errors import FootplateError, RefusedError, UnreachableError
from .transport import Backoff, Transport

__all__ = ["Blob", "BlobStore", "Sent", "blob_of"]

_SMALL = 256 * 2**10
_BATCH = 8 * 2**20
_CHUNK = 16 * 2**20
_MISSING_AT_ONCE = 10_000
# Below this, sending again is quicker than asking what is there.
_NOT_WORTH_ASKING = 64 * 2**10
# The service keeps what nothing refers to for a day at least; asking again is cheap.
_KNOWN_FOR = 3600.0


@dataclass(frozen=True)
class Blob:
    """Bytes with a name made from them.

    Parameters
    ----------
    digest
        ``sha256:…``.
    size
        In bytes.
    content
        The bytes, the file that holds them, or an open file that can seek.
    """

    digest: str
    size: int
    content: bytes | Path | IO[bytes] = field(repr=False)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from ``offset`` on, fewer than ``length`` at the end."""
        if isinstance(self.content, bytes):
            return self.content[offset : offset + length]
        if isinstance(self.content, Path):
            with self.content.open("rb") as file:
                file.seek(offset)
                return file.read(length)
        self.content.seek(offset)
        return self.content.read(length)


def blob_of(content: bytes) -> Blob:
    """Bytes in memory as a blob."""
    return Blob(f"sha256:{hashlib.sha256(content).hexdigest()}", len(content), content)


@dataclass(frozen=True)
class Sent:
    """What really travelled."""

    blobs: int = 0
    size: int = 0


class BlobStore:
    """The service's blobs, as one person sees them.

    Parameters
    ----------
    transport
        How the service is reached.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._known: dict[str, float] = {}

    def send_again(self, blobs: Iterable[Blob]) -> bool:
        """Take nothing for granted; whether the service really lacked something that it once had."""
        wanted = {blob.digest: blob for blob in blobs}
        if not wanted:
            return False
        missing = self._missing(list(wanted))
        for digest in missing:
            self._known.pop(digest, None)
        self.send(wanted[digest] for digest in missing if digest in wanted)
        return bool(missing)

    def send(self, blobs: Iterable[Blob]) -> Sent:
        """Make sure that the service has all of these; only what it lacks travels.

        Raises
        ------
        FootplateError
            If a file changed while it was sent, or the service has no room.
        """
        now = time.monotonic()
        unknown = {
            blob.digest: blob
            for blob in blobs
            if now - self._known.get(blob.digest, -_KNOWN_FOR) >= _KNOWN_FOR
        }
        if not unknown:
            return Sent()
        wanted = list(unknown.values())
        if sum(blob.size for blob in wanted) > _NOT_WORTH_ASKING:
            missing = self._missing(list(unknown))
            wanted = [blob for blob in wanted if blob.digest in missing]
        for batch in _batches(blob for blob in wanted if blob.size <= _SMALL):
            self._send_batch(batch)
        for blob in wanted:
            if blob.size > _SMALL:
                self._send_large(blob)
        self._known.update(dict.fromkeys(unknown, now))
        return Sent(len(wanted), sum(blob.size for blob in wanted))

    def _missing(self, digests: list[str]) -> set[str]:
        missing: set[str] = set()
        for first in range(0, len(digests), _MISSING_AT_ONCE):
            part = digests[first : first + _MISSING_AT_ONCE]
            answer = self._transport.call("POST", "blobs/missing", json={"digests": part})
            missing.update(answer.json()["missing"])
        return missing

    def _send_batch(self, batch: list[Blob]) -> None:
        body = io.BytesIO()
        for blob in batch:
            content = blob.read(0, blob.size + 1)
            if len(content) != blob.size:
                raise _changed(blob)
            body.write(f"{blob.digest} {blob.size}\n".encode())
            body.write(content)
        answer = self._transport.call("POST", "blobs/batch", content=body.getvalue(), accept=frozenset({422}))
        if answer.status_code == 422:
            raise _changed(next((b for b in batch if isinstance(b.content, Path)), batch[0]))

    def _send_large(self, blob: Blob) -> None:
        offset = 0
        headers = {"X-Blob-Size": str(blob.size), "Content-Type": "application/octet-stream"}
        while True:
            chunk = blob.read(offset, _CHUNK)
            if not chunk and offset < blob.size:
                raise _changed(blob)
            # Said twice after a lost answer, it is a wrong offset, and the service names the right one.
            answer = self._transport.call(
                "PUT",
                f"blobs/{blob.digest}",
                params={"offset": offset},
                content=chunk,
                headers=headers,
                accept=frozenset({409, 422}),
            )
            if answer.status_code == 201:
                return
            if answer.status_code == 422:
                raise _changed(blob)
            if answer.status_code == 409:
                offset = int(answer.headers.get("Upload-Offset", 0))
                if offset >= blob.size:
                    return
            else:
                offset = int(answer.headers.get("Upload-Offset", offset + len(chunk)))

    def fetch(self, digest: str) -> IO[bytes]:
        """A blob's bytes, checked; in memory while they are few, else in an unnamed temporary file.

        Raises
        ------
        FootplateError
            If they are not what the digest says.
        """
        # Handed to the caller, who closes it.
        file = tempfile.SpooledTemporaryFile(max_size=64 * 2**20)  # noqa: SIM115
        self.fetch_into(digest, cast(IO[bytes], file))
        file.seek(0)
        return cast(IO[bytes], file)

    def fetch_into(self, digest: str, file: IO[bytes]) -> int:
        """Write a blob's bytes into an open file, resuming where a connection was lost; their number."""
        sha, size = hashlib.sha256(), 0
        backoff = Backoff(self._transport.patience)
        while True:
            headers = {"Range": f"bytes={size}-"} if size else {}
            try:
                with self._transport.stream(f"blobs/{digest}", {}, headers) as response:
                    if size and response.status_code != 206:
                        raise RefusedError(
                            f"the download of {digest} cannot be resumed; try again", "range", 0
                        )
                    for chunk in response.iter_bytes():
                        file.write(chunk)
                        sha.update(chunk)
                        size += len(chunk)
                break
            except (httpx.TransportError, httpx.StreamError):
                if not backoff.pause():
                    raise UnreachableError(f"the download of {digest} broke off; try again") from None
        if f"sha256:{sha.hexdigest()}" != digest:
            raise FootplateError(
                f"what the service keeps as {digest[:19]}… is damaged; its job must run again"
            )
        return size

    def fetch_json(self, digest: str) -> object:
        """A blob that is a JSON document."""
        with self.fetch(digest) as file:
            return json.load(file)


def _batches(blobs: Iterable[Blob]) -> Iterator[list[Blob]]:
    batch: list[Blob] = []
    size = 0
    for blob in blobs:
        if batch and size + blob.size > _BATCH:
            yield batch
            batch, size = [], 0
        batch.append(blob)
        size += blob.size
    if batch:
        yield batch


def _changed(blob: Blob) -> FootplateError:
    what = str(blob.content) if isinstance(blob.content, Path) else "a value"
    return FootplateError(f"{what} changed while it was being sent; run this again")
