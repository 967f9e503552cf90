"""What replicas write, byte for byte, read by range while it grows.

``logs/<attempt>/<role>-<index>/<execution>.log`` and, once the middle was dropped,
``<execution>.<offset>.log`` files that say where in the whole output they begin. Head and tail are kept
within the limit and the gap between them is told. A log's size is where its last file ends, so a writer
that was killed in the middle of a piece just goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from .files import append

__all__ = ["LogId", "Logs", "WrongLogOffsetError"]

_PIECE = 2**20
_TAIL_FILES = 8  # the tail goes in steps of its eighth


class WrongLogOffsetError(Exception):
    """The log is longer or shorter: go on from ``size``."""

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(f"the log has {size} bytes; go on from there")


@dataclass(frozen=True)
class LogId:
    """The output of one execution of one replica."""

    attempt: str
    role: str
    index: int
    execution: int


@dataclass(frozen=True)
class _Segment:
    start: int
    size: int
    file: Path

    @property
    def end(self) -> int:
        return self.start + self.size


class Logs:
    """The logs below a data folder.

    Parameters
    ----------
    limit
        Bytes kept of one execution: half at its head, half at its tail.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder / "logs"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._head = limit // 2
        self._tail = limit - self._head
        self._sizes: dict[LogId, int] = {}

    def _place(self, log: LogId) -> Path:
        return self._folder / log.attempt / f"{log.role}-{log.index}"

    def _segments(self, log: LogId) -> list[_Segment]:
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self._place(log)) as entries:
            for entry in entries:
                execution, *start = entry.name.removesuffix(".log").split(".")
                if execution == str(log.execution):
                    begins = int(start[0]) if start else 0
                    found.append(_Segment(begins, entry.stat().st_size, Path(entry.path)))
        return sorted(found, key=lambda segment: segment.start)

    def size(self, log: LogId) -> int:
        """Bytes written so far, what was dropped included."""
        if log not in self._sizes:
            segments = self._segments(log)
            if not segments:
                return 0
            if len(self._sizes) > 10_000:
                self._sizes.clear()
            self._sizes[log] = segments[-1].end
        return self._sizes[log]

    def gaps(self, log: LogId) -> list[tuple[int, int]]:
        """Ranges that were written but are not kept."""
        segments = self._segments(log)
        return [
            (before.end, after.start)
            for before, after in itertools.pairwise(segments)
            if after.start > before.end
        ]

    async def append(self, log: LogId, offset: int, data: bytes, *, skipped_to: int | None = None) -> int:
        """Add bytes at the end; the new size.

        Parameters
        ----------
        offset
            Must be the size.
        skipped_to
            The writer dropped ``[offset, skipped_to)`` itself: ``data`` begins there.

        Raises
        ------
        WrongLogOffsetError
            If the log's size is another one. Nothing was written.
        DiskFullError
            Likewise.
        """
        size = self.size(log)
        if offset != size:
            raise WrongLogOffsetError(size)
        try:
            size = await asyncio.to_thread(self._append, log, data, skipped_to)
        except OSError:
            self._sizes.pop(log, None)
            raise
        self._sizes[log] = size
        return size

    def _append(self, log: LogId, data: bytes, skipped_to: int | None) -> int:
        place = self._place(log)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        segments = self._segments(log)
        if not segments and skipped_to is None:
            segments = [_Segment(0, 0, place / f"{log.execution}.log")]
        if skipped_to is not None and (not segments or skipped_to > segments[-1].end):
            segments.append(_Segment(skipped_to, 0, place / f"{log.execution}.{skipped_to}.log"))
        last = segments[-1]
        position = last.end
        while data:
            room = (self._head if last.start == 0 else max(1, self._tail // _TAIL_FILES)) - last.size
            if room <= 0:
                last = _Segment(position, 0, place / f"{log.execution}.{position}.log")
                segments.append(last)
                continue
            piece, data = data[:room], data[room:]
            append(last.file, piece, last.size)
            position += len(piece)
            last = segments[-1] = _Segment(last.start, last.size + len(piece), last.file)
        self._drop_middle(segments)
        if not last.size:
            append(last.file, b"", 0)
        return position

    def _drop_middle(self, segments: list[_Segment]) -> None:
        tail = [segment for segment in segments if segment.start]
        kept = sum(segment.size for segment in tail)
        while len(tail) > 1 and kept > self._tail:
            oldest = tail.pop(0)
            kept -= oldest.size
            oldest.file.unlink(missing_ok=True)

    async def read(self, log: LogId, start: int, end: int) -> AsyncIterator[bytes]:
        """The kept bytes of ``[start, end)``."""
        for segment in self._segments(log):
            first, last = max(start, segment.start), min(end, segment.end)
            if first >= last:
                continue
            with segment.file.open("rb") as file:
                position = first - segment.start
                while position < last - segment.start:
                    length = min(_PIECE, last - segment.start - position)
                    piece = await asyncio.to_thread(os.pread, file.fileno(), length, position)
                    if not piece:
                        break
                    position += len(piece)
                    yield piece

    def read_piece(self, log: LogId, start: int, most: int) -> tuple[int, bytes]:
        """Up to ``most`` kept bytes at ``start`` or after the gap there, and where they begin."""
        for segment in self._segments(log):
            if start < segment.end:
                first = max(start, segment.start)
                with segment.file.open("rb") as file:
                    return first, os.pread(file.fileno(), most, first - segment.start)
        return start, b""

    def attempts(self) -> list[str]:
        """Attempts with logs."""
        return sorted(entry.name for entry in self._folder.iterdir())

    def remove(self, attempt: str) -> None:
        """Delete the logs of an attempt."""
        shutil.rmtree(self._folder / attempt, ignore_errors=True)
        self._sizes = {log: size for log, size in self._sizes.items() if log.attempt != attempt}
