"""What groups have used, for orders that look at it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..model import GroupModel, Running
from ..quota import lineage

__all__ = ["FIRST", "MILLISECONDS", "Use", "weight", "young"]

FIRST = 3600.0  # seconds
MILLISECONDS = 1000  # sums of whole ones are the same in any order


class Use:
    """Decayed GPU-seconds of groups, beside the GPUs that are their own.

    What is admitted counts at once as if it had run for its first hour already (or for its time limit, if
    that is less), and what runs counts as no less than that: a group cannot take everything in the pass in
    which its share is the smallest.

    Parameters
    ----------
    running
        `young` of what runs, by group.
    weights
        `weight` of groups, where it is known already.
    """

    def __init__(
        self,
        groups: Mapping[str, GroupModel],
        running: Mapping[str, int],
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self._groups = groups
        self._running = running
        self._weights = weights or {name: weight(group) for name, group in groups.items()}
        self._seconds: dict[str, float] | None = None  # counted when the first order asks for it
        self._own: dict[str, float] = {}
        self._admitted: list[tuple[str, float]] = []

    def admit(self, group: str, gpus: int, time_limit: int) -> None:
        """Count what starts now."""
        if self._seconds is None:
            self._admitted.append((group, gpus * _first(time_limit)))
        else:
            self._add(self._seconds, group, gpus * _first(time_limit))

    def seconds(self, group: str) -> float:
        """GPU-seconds of a group and all below it."""
        return self._counted().get(group, 0.0)

    def share(self, group: str) -> float:
        """GPU-seconds of a group and all below it, for each GPU of its nominal quota (at least one)."""
        return self.seconds(group) / self._weights.get(group, 1)

    def own_share(self, group: str) -> float:
        """The same of a group without those below it."""
        self._counted()
        return self._own.get(group, 0.0) / self._weights.get(group, 1)

    def _counted(self) -> dict[str, float]:
        if self._seconds is None:
            found = self._seconds = {}
            for name, group in self._groups.items():
                self._add(found, name, group.used)
            for name in sorted(self._running):
                self._add(found, name, self._running[name] / MILLISECONDS)
            for name, seconds in self._admitted:
                self._add(found, name, seconds)
        return self._seconds

    def _add(self, counted: dict[str, float], group: str, seconds: float) -> None:
        self._own[group] = self._own.get(group, 0.0) + seconds
        for holder in lineage(group):
            counted[holder] = counted.get(holder, 0.0) + seconds


def weight(group: GroupModel) -> float:
    """GPUs of its nominal quota, at least one."""
    return max(1, sum(quota.nominal.gpu or 0 for quota in group.quotas.values()))


def young(running: Iterable[Running], now: float) -> dict[str, int]:
    """By group, what runs counts for beyond what it has used: GPU-milliseconds left of its first hour."""
    found: dict[str, int] = {}
    for attempt in running:
        left = _first(attempt.time_limit) - (now - attempt.started)
        if left > 0:
            gpus = sum(placement.need.gpu for placement in attempt.placements)
            found[attempt.group] = found.get(attempt.group, 0) + round(gpus * left * MILLISECONDS)
    return found


def _first(time_limit: int) -> float:
    return min(time_limit, FIRST) if time_limit else FIRST
