"""What groups have used, for orders that look at it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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

    def __init__(self, groups: Mapping[str, GroupModel], running: Iterable[Running], now: float) -> None:
        self._groups = groups
        self._seconds: dict[str, float] = {}
        self._own: dict[str, float] = {}
        for name, group in groups.items():
            self._add(name, group.used)
        for attempt in running:
            ran = now - attempt.started
            if ran < _FIRST:
                gpus = sum(placement.need.gpu for placement in attempt.placements)
                self._add(attempt.group, gpus * max(0.0, _first(attempt.time_limit) - ran))

    def admit(self, group: str, gpus: int, time_limit: int) -> None:
        """Count what starts now."""
        self._add(group, gpus * _first(time_limit))

    def seconds(self, group: str) -> float:
        """GPU-seconds of a group and all below it."""
        return self._seconds.get(group, 0.0)

    def share(self, group: str) -> float:
        """GPU-seconds of a group and all below it, for each GPU of its nominal quota (at least one)."""
        return self.seconds(group) / self._weight(group)

    def own_share(self, group: str) -> float:
        """The same of a group without those below it."""
        return self._own.get(group, 0.0) / self._weight(group)

    def _weight(self, group: str) -> float:
        model = self._groups.get(group)
        return max(1, sum(quota.nominal.gpu or 0 for quota in model.quotas.values())) if model else 1

    def _add(self, group: str, seconds: float) -> None:
        self._own[group] = self._own.get(group, 0.0) + seconds
        for holder in lineage(group):
            self._seconds[holder] = self._seconds.get(holder, 0.0) + seconds


def _first(time_limit: int) -> float:
    return min(time_limit, _FIRST) if time_limit else _FIRST
