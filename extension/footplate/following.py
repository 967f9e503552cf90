"""A job as it happens, without losing or doubling a byte when the connection or the service goes away.

`Place` is the rule for resuming, without any I/O: the follower of a cell and that of the widgets share it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import httpx
from pydantic import ValidationError

from footplate_spec import FollowItem, MetricPoint

from .errors import UnreachableError
from .transport import Backoff, Transport

__all__ = ["Lines", "Place", "follow"]

# A job outlives its service's restarts, so its followers do too.
_PATIENCE = 600.0


@dataclass
class Place:
    """How far a follower has read, and of which replica.

    Parameters
    ----------
    role, replica
        Unset: the first replica of the first role.
    attempt, execution, offset
        Where the next byte is expected; unset: from the start.
    """

    role: str | None = None
    replica: int | None = None
    attempt: int | None = None
    execution: int | None = None
    offset: int | None = None
    _points: set[tuple[Any, ...]] = field(default_factory=set, repr=False)

    def parameters(self) -> dict[str, Any]:
        """The query that resumes here."""
        return {
            "role": self.role,
            "replica": self.replica,
            "attempt": self.attempt,
            "execution": self.execution,
            "offset": self.offset,
        }

    def take(self, item: FollowItem) -> FollowItem | None:
        """What of an item is new; moves on past it."""
        if item.kind == "log":
            here = (self.attempt, self.execution)
            if (item.attempt, item.execution) == here and item.offset <= (self.offset or 0):
                return None
            self.attempt, self.execution, self.offset = item.attempt, item.execution, item.offset
        elif item.kind == "metrics":
            fresh = [point for point in item.metrics if self._is_new(point)]
            return item.model_copy(update={"metrics": fresh}) if fresh else None
        return item

    def _is_new(self, point: MetricPoint) -> bool:
        key = (point.attempt, point.execution, point.role, point.replica, point.step, point.time)
        if key in self._points:
            return False
        self._points.add(key)
        return True


class Lines:
    """Whole lines of a stream as items; one that was cut short is left for the next connection.

    Only a line feed ends a line: a job's output may hold any other character that Unicode calls a line's end.
    """

    def __init__(self) -> None:
        self._rest = b""

    def take(self, chunk: bytes) -> list[FollowItem]:
        """The items that a chunk completes."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        return [FollowItem.model_validate_json(line) for line in whole if line.strip()]


def follow(
    transport: Transport,
    job: str,
    place: Place | None = None,
    *,
    on_away: Callable[[], None] | None = None,
    seconds: float | None = None,
) -> Iterator[FollowItem]:
    """Follow a job to its end.

    Parameters
    ----------
    place
        Where to begin; it is moved along, so that the caller can resume later.
    on_away
        Called once each time the service has been away for some seconds.
    seconds
        Give up after so long.

    Raises
    ------
    TimeoutError
        If ``seconds`` went by before the end.
    UnreachableError
        If the service stays away for ten minutes; the job is not affected.
    """
    place = place or Place()
    backoff = Backoff(_PATIENCE)
    attempts, over = 0, False
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        left = _left(job, end)
        try:
            with transport.stream(f"jobs/{job}/follow", place.parameters(), silence=left) as response:
                found = Lines()
                for item in chain.from_iterable(map(found.take, response.iter_bytes())):
                    backoff, attempts = Backoff(_PATIENCE), 0
                    new = place.take(item)
                    if new is not None:
                        yield new
                    over = item.kind == "end"
                    if not over:
                        _left(job, end)
            # Read past the end of the body, not only to its last line: the connection serves the next call.
            if over:
                return
        except (httpx.TransportError, httpx.StreamError, ValidationError):
            if over:
                return
            _left(job, end)
        # Resumed at the byte after the last one that was yielded.
        attempts += 1
        if attempts == 5 and on_away is not None:
            on_away()
        if not backoff.pause():
            raise UnreachableError(
                f"lost sight of {job}: Footplate has not answered for ten minutes; the job is not affected, "
                f"%attach {job} looks again"
            )


def _left(job: str, end: float | None) -> float | None:
    """Seconds until ``end``."""
    if end is None:
        return None
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError(f"{job} has not ended yet; it goes on")
    return left
