"""GPU-seconds that groups used lately: what fair shares are measured by.

A GPU-second counts half after a week. What has ended is kept as one number a group, which only decays;
what runs is added when it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

__all__ = ["HALF_LIFE", "Accounts", "decayed"]

HALF_LIFE = 7 * 86400.0  # seconds
_RATE = math.log(2) / HALF_LIFE


def decayed(gpus: int, start: float, end: float, now: float) -> float:
    """What ``gpus`` from ``start`` to ``end`` count at ``now``.

    Notes
    -----
    The integral of ``gpus * 2 ** (-(now - t) / HALF_LIFE)`` over the time that they were held.
    """
    end = min(max(end, start), now)
    start = min(start, end)
    return gpus * (math.exp(-_RATE * (now - end)) - math.exp(-_RATE * (now - start))) / _RATE


class Accounts:
    """What ended attempts used, by group."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._when = 0.0

    def add(self, group: str, gpus: int, start: float, end: float, now: float) -> None:
        """Count an attempt that has ended."""
        if gpus:
            self._decay(now)
            self._sums[group] = self._sums.get(group, 0.0) + decayed(gpus, start, end, now)

    def at(self, running: Iterable[tuple[str, int, float]], now: float) -> dict[str, float]:
        """Decayed GPU-seconds of each group; ``running`` are group, GPUs and start."""
        self._decay(now)
        found = dict(self._sums)
        for group, gpus, start in running:
            if gpus:
                found[group] = found.get(group, 0.0) + decayed(gpus, start, now, now)
        return found

    def _decay(self, now: float) -> None:
        if now > self._when:
            factor = math.exp(-_RATE * (now - self._when)) if self._when else 1.0
            self._sums = {group: amount * factor for group, amount in self._sums.items()}
            self._when = now
