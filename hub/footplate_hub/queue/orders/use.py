"""What groups have used, for orders that look at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..model import GroupModel, Running
from ..quota import lineage

__all__ = ["Use"]

_FIRST = 3600.0  # seconds


class Use:
    """Decayed GPU-seconds of groups, beside the GPUs that are their own.

    What is admitted counts at once as if it had run for its first hour already (or for its time limit, if
    that is less), and what runs counts as no less than that: a group cannot take everything in the pass in
    which its share is the smallest.
    """

    def __init__(self, groups: Mapping[str, GroupModel], running: Sequence[Running], now: float) -> None:
        self._groups = groups
        self._running = running
        self._now = now
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
        return self.seconds(group) / self._weight(group)

    def own_share(self, group: str) -> float:
        """The same of a group without those below it."""
        self._counted()
        return self._own.get(group, 0.0) / self._weight(group)

    def _weight(self, group: str) -> float:
        model = self._groups.get(group)
        return max(1, sum(quota.nominal.gpu or 0 for quota in model.quotas.values())) if model else 1

    def _counted(self) -> dict[str, float]:
        if self._seconds is None:
            found: dict[str, float] = {}
            self._seconds = found
            for name, group in self._groups.items():
                self._add(found, name, group.used)
            for attempt in self._running:
                ran = self._now - attempt.started
                if ran < _FIRST:
                    gpus = sum(placement.need.gpu for placement in attempt.placements)
                    self._add(found, attempt.group, gpus * max(0.0, _first(attempt.time_limit) - ran))
            for name, seconds in self._admitted:
                self._add(found, name, seconds)
        return self._seconds

    def _add(self, counted: dict[str, float], group: str, seconds: float) -> None:
        self._own[group] = self._own.get(group, 0.0) + seconds
        for holder in lineage(group):
            counted[holder] = counted.get(holder, 0.0) + seconds


def _first(time_limit: int) -> float:
    return min(time_limit, _FIRST) if time_limit else _FIRST
