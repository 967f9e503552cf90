"""What jobs report about themselves: one file of JSON lines a job, read on from a byte offset.

An agent repeats what it is not sure was heard. Its points carry times that grow, so those up to the last
one taken are repeats. A line that was torn by a kill is cut off before the next one is written, and comes
again with the repetition.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from footplate_spec import MetricPoint

from .files import append

__all__ = ["Metrics"]

_LARGEST = 64 * 2**20  # bytes a job; later points are dropped
_LOOK_BACK = 256 * 2**10  # bytes from the end that say what was taken before a restart
_PAGE = 2**20

_Writer = tuple[int, str, int, int]  # attempt, role, replica, execution


class Metrics:
    """The metrics below a data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "metrics"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._last: dict[str, dict[_Writer, float]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def _file(self, job: str) -> Path:
        return self._folder / f"{job}.jsonl"

    async def add(
        self,
        job: str,
        points: Iterable[dict[str, Any]],
        *,
        attempt: int,
        role: str,
        replica: int,
        execution: int,
    ) -> int:
        """Add those points that are new and well formed; how many."""
        writer = (attempt, role, replica, execution)
        lock = self._locks.setdefault(job, asyncio.Lock())
        try:
            async with lock:
                if job not in self._last:
                    self._last[job] = await asyncio.to_thread(self._mend, self._file(job))
                seen = self._last[job]
                fresh = [
                    point
                    for point in (_point(writer, raw) for raw in points)
                    if point is not None and point.time > seen.get(writer, -math.inf)
                ]
                if fresh:
                    text = "".join(point.model_dump_json(exclude_none=True) + "\n" for point in fresh)
                    await asyncio.to_thread(self._append, self._file(job), text.encode())
                    seen[writer] = max(point.time for point in fresh)
                return len(fresh)
        finally:
            if not lock.locked():
                self._locks.pop(job, None)
            if len(self._last) > 1000:
                self._last.pop(next(iter(self._last)))

    def _append(self, file: Path, data: bytes) -> None:
        size = file.stat().st_size if file.exists() else 0
        if size + len(data) <= _LARGEST:
            append(file, data, size)

    def _mend(self, file: Path) -> dict[_Writer, float]:
        """Cut a torn last line off, and read what the last points were."""
        last: dict[_Writer, float] = {}
        with contextlib.suppress(FileNotFoundError), file.open("r+b") as opened:
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(0, size - _LOOK_BACK))
            tail = opened.read()
            whole, _, torn = tail.rpartition(b"\n")
            if torn:
                opened.truncate(size - len(torn))
            for line in whole.splitlines():
                with contextlib.suppress(ValidationError):
                    point = MetricPoint.model_validate_json(line)
                    writer = (point.attempt, point.role, point.replica, point.execution)
                    last[writer] = max(point.time, last.get(writer, -math.inf))
        return last

    def size(self, job: str) -> int:
        """Bytes of a job's points."""
        with contextlib.suppress(FileNotFoundError):
            return self._file(job).stat().st_size
        return 0

    async def read(self, job: str, after: int) -> tuple[list[MetricPoint], int]:
        """Points from a byte offset on, and the offset to go on from: a page of about a megabyte."""
        return await asyncio.to_thread(self._read, job, after)

    def _read(self, job: str, after: int) -> tuple[list[MetricPoint], int]:
        with contextlib.suppress(FileNotFoundError), self._file(job).open("rb") as file:
            file.seek(after)
            whole, newline, _ = file.read(_PAGE).rpartition(b"\n")
            points = []
            for line in whole.splitlines():
                with contextlib.suppress(ValidationError):  # an offset in the middle of a line
                    points.append(MetricPoint.model_validate_json(line))
            return points, after + len(whole) + len(newline)
        return [], after

    def jobs(self) -> list[str]:
        """Jobs with metrics."""
        return sorted(file.name.removesuffix(".jsonl") for file in self._folder.glob("*.jsonl"))

    def remove(self, job: str) -> None:
        """Delete a job's metrics."""
        self._file(job).unlink(missing_ok=True)
        self._last.pop(job, None)


def _point(writer: _Writer, raw: dict[str, Any]) -> MetricPoint | None:
    """A point as the agent said it; None if it is none. Who reported it is known better here."""
    attempt, role, replica, execution = writer
    known = {"attempt": attempt, "role": role, "replica": replica, "execution": execution}
    try:
        return MetricPoint.model_validate({**raw, **known})
    except ValidationError:
        return None
