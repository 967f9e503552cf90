"""How fast a server is asked: a token bucket, as every client of Kubernetes has one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

__all__ = ["Pace"]


class Pace:
    """Lets through ``burst`` requests at once, and ``qps`` a second in the long run."""

    def __init__(self, qps: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._each, self._ahead, self._clock = 1 / qps, (burst - 1) / qps, clock
        self._next = 0.0  # when the next one would go if they went evenly

    def delay(self) -> float:
        """Take the next place; seconds until it is there."""
        now = self._clock()
        self._next = max(self._next, now - self._ahead)
        due, self._next = self._next, self._next + self._each
        return max(0.0, due - now)

    async def turn(self) -> None:
        """Wait for one's turn."""
        seconds = self.delay()
        if seconds:
            await asyncio.sleep(seconds)
