"""Ships what a program writes: its output byte by byte, its metrics line by line.

The file is the truth and the service's answer says how much of it arrived, so a killed agent, a lost answer
or a service that was away costs nothing. Where the keeper dropped the middle of a log, the gap is told.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
from typing import Any, Dict, List, Optional

from .api import Api
from .watch import read_gap

__all__ = ["Changes", "LogShipper", "MetricReader"]

_CHUNK = 4 * 2**20
_LONGEST_POINT = 2**20
_IN_MODIFY = 0x02
_IN_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)


class Changes:
    """Wakes whoever selects on it when one of the files grows.

    Its ``descriptor`` is None where the system has no watches left; then one has to look.
    """

    def __init__(self, paths: List[str]) -> None:
        self.descriptor: Optional[int] = None
        descriptor = _libc.inotify_init1(_IN_FLAGS)
        if descriptor < 0:
            return
        for path in paths:
            if _libc.inotify_add_watch(descriptor, os.fsencode(path), ctypes.c_uint32(_IN_MODIFY)) < 0:
                os.close(descriptor)
                return
        self.descriptor = descriptor

    def clear(self) -> None:
        """Forget what has been told."""
        if self.descriptor is not None:
            try:
                while os.read(self.descriptor, 64 * struct.calcsize("iIII")):
                    pass
            except BlockingIOError:
                pass

    def close(self) -> None:
        """Stop watching."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


class LogShipper:
    """One execution's output on its way to the service.

    Parameters
    ----------
    attached
        Whether an earlier agent may have shipped some of it: then the service is asked how much.
    """

    def __init__(self, path: str, execution: int, api: Api, attached: bool) -> None:
        self._path, self._execution, self._api = path, execution, api
        self._ask_first = attached
        self.offset = 0

    def ship(self) -> bool:
        """Send the next piece; False when all that there is has arrived.

        Raises
        ------
        Refused
            If the service does not take it.
        """
        if self._ask_first:
            self.offset = self._api.append_log(self._execution, self.offset, b"")
            self._ask_first = False
        data, skip_to = self._next()
        if not data and skip_to is None:
            return False
        self.offset = self._api.append_log(self._execution, self.offset, data, skip_to)
        return True

    def _next(self) -> "tuple[bytes, Optional[int]]":
        """The bytes to send now, and where they begin if some before them were dropped."""
        data = self._read(self.offset)
        gap = read_gap(self._path)  # after reading: what was announced before is not text
        if gap is None or not gap[0] < self.offset + len(data) or not self.offset < gap[1]:
            return data, None
        if self.offset < gap[0]:
            return data[: gap[0] - self.offset], None
        while True:
            data, end = self._read(gap[1]), gap[1]
            gap = read_gap(self._path)
            if gap is None or gap[1] == end:
                return data, end

    def _read(self, offset: int) -> bytes:
        try:
            with open(self._path, "rb") as file:
                file.seek(offset)
                return file.read(_CHUNK)
        except FileNotFoundError:
            return b""


class MetricReader:
    """The ``footplate.report`` lines of one execution, from an offset on."""

    def __init__(self, path: str, offset: int) -> None:
        self._path = path
        self.offset = offset

    def read(self) -> List[Dict[str, Any]]:
        """The points since last time; what is no point is passed over. ``at`` tells repeats apart."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self.offset)
                data = file.read(_CHUNK)
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        if end == 0 and len(data) >= _LONGEST_POINT:
            end = len(data)
        points, at = [], self.offset
        for line in data[:end].splitlines(keepends=True):
            point = _point(line)
            if point is not None:
                points.append({**point, "at": at})
            at += len(line)
        self.offset += end
        return points


def _point(line: bytes) -> Optional[Dict[str, Any]]:
    try:
        point = json.loads(line)
        values = {str(name): float(value) for name, value in point["values"].items()}
        step = point.get("step")
        return {"time": float(point["time"]), "step": None if step is None else float(step), "values": values}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def append_notes(path: str, lines: List[str]) -> None:
    """Add lines of ours to a log whose program has ended."""
    if lines:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))


def read_tail(path: str, size: int = 64 * 1024) -> str:
    """The end of a log as text."""
    try:
        with open(path, "rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - size))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
