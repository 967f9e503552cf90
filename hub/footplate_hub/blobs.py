"""Content-addressed files: uploaded in pieces, whole only when their sha256 is right.

``blobs/aa/<hex>`` are the blobs, ``uploads/<owner>-<hex>`` those on their way. A file gets its final name
after its bytes are verified and synced, and the store hears of it after that, so a blob that the store
knows is there, whoever was killed when. Bytes are verified again whenever a blob is read whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect

from .files import DiskFullError, append, fsync_folder, full_disk_is_an_error, space_left

__all__ = ["Blobs", "DamagedBlobError", "WrongDigestError", "WrongOffsetError"]

PIECE = 2**20  # bytes that one read, or one hand-over to a thread, moves


class WrongOffsetError(Exception):
    """The upload stands elsewhere: go on from ``offset``."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        super().__init__(f"the upload stands at byte {offset}; go on from there")


class WrongDigestError(Exception):
    """The bytes are not those of the digest; the upload begins again."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"the bytes that arrived are not those of {digest}; upload them again")


class DamagedBlobError(Exception):
    """The stored file is not what its digest says any more."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        super().__init__(f"{digest} was damaged on the disk of the service; submit again to upload it anew")


class Blobs:
    """The files of all blobs, and of all uploads on their way.

    Parameters
    ----------
    folder
        The service's data folder.
    keep_free
        Bytes of disk that uploads leave free.
    """

    def __init__(self, folder: Path, keep_free: int = 0) -> None:
        self._folder = folder / "blobs"
        self._uploads = folder / "uploads"
        self._keep_free = keep_free
        self._hashes: dict[Path, tuple[int, Any]] = {}  # running sha256 of uploads, up to an offset
        self._settling = _KeyedLocks()
        for made in (self._folder, self._uploads):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        """Where a blob's bytes are."""
        hexadecimal = digest.removeprefix("sha256:")
        return self._folder / hexadecimal[:2] / hexadecimal

    def offset(self, owner: str, digest: str) -> int:
        """How far an owner's upload of a digest came."""
        with contextlib.suppress(FileNotFoundError):
            return self._upload(owner, digest).stat().st_size
        return 0

    def _upload(self, owner: str, digest: str) -> Path:
        whose = hashlib.sha256(owner.encode()).hexdigest()[:16]
        return self._uploads / f"{whose}-{digest.removeprefix('sha256:')}"

    def check_space(self, size: int) -> None:
        """Refuse what would not leave the disk enough room.

        Raises
        ------
        DiskFullError
            If so.
        """
        if space_left(self._folder) - size < self._keep_free:
            raise DiskFullError

    async def receive(
        self, owner: str, digest: str, offset: int, size: int, pieces: AsyncIterator[bytes]
    ) -> bool:
        """Take bytes of an upload at ``offset``; whether all ``size`` are there now.

        Raises
        ------
        WrongOffsetError
            If the upload stands elsewhere, also when another request moved it meanwhile.
        WrongDigestError
            If more than ``size`` bytes came.
        DiskFullError
            If they do not fit; the upload is forgotten, so that nothing half done takes the room.
        """
        file = self._upload(owner, digest)
        position = self.offset(owner, digest)
        if position != offset:
            raise WrongOffsetError(position)
        self.check_space(size - offset)
        async for piece in _gathered(pieces):
            if position + len(piece) > size:
                self._forget_upload(file)
                raise WrongDigestError(digest)
            now_at = self.offset(owner, digest)
            if now_at != position:
                raise WrongOffsetError(now_at)
            try:
                await asyncio.to_thread(self._write, file, piece, position)
            except DiskFullError:
                self._forget_upload(file)
                raise
            position += len(piece)
        if size == 0:
            await asyncio.to_thread(self._write, file, b"", 0)
        return position == size

    def _write(self, file: Path, piece: bytes, position: int) -> None:
        append(file, piece, position)
        reached, running = self._hashes.get(file, (0, None))
        if running is None or reached != position:
            running = hashlib.sha256()
            if position:
                return  # begun before the service's last start: read as a whole at the end
        running.update(piece)
        self._hashes[file] = (position + len(piece), running)

    def _forget_upload(self, file: Path) -> None:
        self._hashes.pop(file, None)
        file.unlink(missing_ok=True)

    @contextlib.asynccontextmanager
    async def settle(self, owner: str, digest: str, size: int) -> AsyncIterator[None]:
        """Verify a complete upload and give it its name; record it in the store inside this block.

        The sweeper waits for the block's end before it removes the same digest, so it never removes a
        file that has just been put in place again.

        Raises
        ------
        WrongDigestError
            If the bytes are others; the upload begins again.
        """
        file = self._upload(owner, digest)
        async with self._settling.hold([digest]):
            reached, running = self._hashes.pop(file, (0, None))
            known = running.hexdigest() if running is not None and reached == size else None
            if not await asyncio.to_thread(self._verify_and_sync, file, digest, known):
                self._forget_upload(file)
                raise WrongDigestError(digest)
            await asyncio.to_thread(self._place, file, digest)
            yield

    def _verify_and_sync(self, file: Path, digest: str, known: str | None) -> bool:
        with file.open("rb") as opened:
            found = known or hashlib.file_digest(opened, "sha256").hexdigest()
            with full_disk_is_an_error():
                os.fsync(opened.fileno())
        return digest == f"sha256:{found}"

    def _place(self, file: Path, digest: str) -> None:
        target = self.path(digest)
        if not target.parent.is_dir():
            target.parent.mkdir(mode=0o700, exist_ok=True)
            fsync_folder(self._folder)
        file.replace(target)
        fsync_folder(target.parent)

    @contextlib.asynccontextmanager
    async def settle_many(self, owner: str, blobs: Sequence[tuple[str, bytes]]) -> AsyncIterator[None]:
        """`settle`, for whole blobs that are in memory; none gets its name unless all are right."""
        self.check_space(sum(len(data) for _, data in blobs))
        async with self._settling.hold(digest for digest, _ in blobs):
            await asyncio.to_thread(self._store_many, owner, blobs)
            yield

    def _store_many(self, owner: str, blobs: Sequence[tuple[str, bytes]]) -> None:
        for digest, data in blobs:
            if digest != f"sha256:{hashlib.sha256(data).hexdigest()}":
                raise WrongDigestError(digest)
        placed: list[tuple[Path, Path]] = []
        try:
            for digest, data in blobs:
                file = self._uploads / f"{self._upload(owner, digest).name}.{os.urandom(4).hex()}"
                placed.append((file, self.path(digest)))
                append(file, data, 0)
            for file, _ in placed:  # written first, synced after: the disk may order what it writes
                with file.open("rb") as opened, full_disk_is_an_error():
                    os.fsync(opened.fileno())
        except DiskFullError:
            for file, _ in placed:
                file.unlink(missing_ok=True)
            raise
        folders = set()
        for file, target in placed:
            target.parent.mkdir(mode=0o700, exist_ok=True)
            file.replace(target)
            folders.add(target.parent)
        for folder in (*folders, self._folder):
            fsync_folder(folder)

    async def read(self, digest: str, start: int, end: int, size: int) -> AsyncIterator[bytes]:
        """Bytes ``[start, end)`` of a blob of ``size`` bytes.

        Read whole, it is verified on the way, and the last piece comes only when all were right.

        Raises
        ------
        DamagedBlobError
            If the file is missing, cut, or not what its digest says.
        """
        try:
            file = await asyncio.to_thread(self.path(digest).open, "rb")
        except FileNotFoundError:
            raise DamagedBlobError(digest) from None
        with file:
            if os.fstat(file.fileno()).st_size != size:
                raise DamagedBlobError(digest)
            running = hashlib.sha256() if (start, end) == (0, size) else None
            position = start
            while position < end:
                piece = await asyncio.to_thread(
                    _read_piece, file.fileno(), position, min(PIECE, end - position), running
                )
                position += len(piece)
                last = position >= end
                if not piece or (last and running and f"sha256:{running.hexdigest()}" != digest):
                    raise DamagedBlobError(digest)
                yield piece

    def set_aside(self, digest: str) -> None:
        """Move a damaged file out of the way, for its owner to look at."""
        with contextlib.suppress(FileNotFoundError):
            self.path(digest).replace(self.path(digest).with_suffix(".damaged"))

    @contextlib.asynccontextmanager
    async def sweeping(self, digests: Iterable[str]) -> AsyncIterator[None]:
        """Hold uploads of these digests while the store forgets them and `remove` is called."""
        async with self._settling.hold(digests):
            yield

    def remove(self, digests: Iterable[str]) -> None:
        """Delete the files of blobs that the store has forgotten."""
        for digest in digests:
            self.path(digest).unlink(missing_ok=True)

    def remove_stale_uploads(self, older_than: float) -> int:
        """Delete uploads that nobody has gone on with for so many seconds; how many."""
        before = time.time() - older_than
        stale = [file for file in self._uploads.iterdir() if file.stat().st_mtime < before]
        for file in stale:
            self._forget_upload(file)
        return len(stale)


def _read_piece(descriptor: int, position: int, length: int, running: Any) -> bytes:
    piece = os.pread(descriptor, length, position)
    if running is not None:
        running.update(piece)
    return piece


async def _gathered(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces worth a thread's while; what came before a broken connection counts."""
    gathered = bytearray()
    broken: Exception | None = None
    try:
        async for piece in pieces:
            gathered += piece
            if len(gathered) >= PIECE:
                yield bytes(gathered)
                gathered.clear()
    except ClientDisconnect as error:
        broken = error
    if gathered:
        yield bytes(gathered)
    if broken is not None:
        raise broken


class _KeyedLocks:
    """A lock a digest, held in order so that two holders of several never wait for each other."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @contextlib.asynccontextmanager
    async def hold(self, keys: Iterable[str]) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for key in sorted(set(keys)):
                lock, users = self._locks.get(key, (asyncio.Lock(), 0))
                self._locks[key] = (lock, users + 1)
                stack.callback(self._leave, key)
                await stack.enter_async_context(lock)
            yield

    def _leave(self, key: str) -> None:
        lock, users = self._locks[key]
        if users == 1:
            del self._locks[key]
        else:
            self._locks[key] = (lock, users - 1)
