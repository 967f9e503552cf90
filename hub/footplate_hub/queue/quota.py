"""Quotas during one pass: who uses how much of what, and whose limit would be passed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .model import Amount, GroupModel, Limit, Place, Placement, Running

__all__ = ["Quotas", "Shortage", "lineage"]

RESOURCES = ("cpu", "memory", "gpu")


def lineage(group: str) -> Iterator[str]:
    """A group and all groups above it: ``a/b`` gives ``a/b``, ``a``."""
    while group:
        yield group
        group = group.rpartition("/")[0]


@dataclass(frozen=True)
class Shortage:
    """A limit that does not allow what is asked. ``ever``: not even when nothing else runs."""

    group: str
    place: Place
    resource: str
    asked: int
    used: int
    limit: int

    @property
    def ever(self) -> bool:
        """Whether it is refused for good."""
        return self.asked > self.limit


class Quotas:
    """Limits, and the use that counts against them, which grows as the pass admits."""

    def __init__(self, groups: Mapping[str, GroupModel], running: tuple[Running, ...]) -> None:
        self._limits: dict[str, dict[Place, Limit]] = {
            group.name: {place: quota.nominal for place, quota in group.quotas.items()}
            for group in groups.values()
            if group.quotas
        }
        self._used: dict[tuple[str, Place], Amount] = {}
        for attempt in running:
            self.take(attempt.group, attempt.placements)

    def take(self, group: str, placements: tuple[Placement, ...]) -> None:
        """Count what was placed."""
        sums: dict[Place, Amount] = {}
        for placement in placements:
            place = (placement.cluster, placement.flavor)
            sums[place] = sums.get(place, Amount()) + placement.need
        for holder in lineage(group):
            if holder in self._limits:
                for place, amount in sums.items():
                    key = (holder, place)
                    self._used[key] = self._used.get(key, Amount()) + amount

    def shortages(self, group: str, asked: Mapping[Place, Amount]) -> list[Shortage]:
        """Every limit that ``asked`` would pass, the group's own first."""
        found = []
        for holder in lineage(group):
            limits = self._limits.get(holder, {})
            for place, amount in asked.items():
                limit = limits.get(place)
                if limit is None:
                    continue
                used = self._used.get((holder, place), Amount())
                for resource in RESOURCES:
                    most = getattr(limit, resource)
                    want, have = getattr(amount, resource), getattr(used, resource)
                    if most is not None and want and want + have > most:
                        found.append(Shortage(holder, place, resource, want, have, most))
        return found
