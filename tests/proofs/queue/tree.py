"""Quotas as statements that must stay true, instead of amounts that are left.

For each cluster, flavor and resource: count everything that runs into the tree of those groups that have a
nominal amount of it, and look whether any group takes more from above than it may, or all take more than
there is. Something may start if it makes no statement false, and none that is false already worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from footplate_hub.queue.model import Place, Placement, Snapshot

from .room import RESOURCES

__all__ = ["Statement", "Use", "above", "broken", "over_nominal", "person_broken"]

ROOT = ""


@dataclass(frozen=True)
class Use:
    """Who uses what: an attempt that runs or starts."""

    group: str
    owner: str
    placements: tuple[Placement, ...]


@dataclass(frozen=True)
class Statement:
    """``borrowing``: a group takes no more from above than it may. ``pool``: nor do all than is there."""

    kind: str
    group: str
    place: Place
    resource: str


def above(group: str) -> list[str]:
    """The group, its parent, and so on."""
    parts = group.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]


def broken(snapshot: Snapshot, before: Sequence[Use], start: Use) -> set[Statement]:
    """Statements that ``start`` makes false, or more false than they are."""
    return {
        statement
        for place in {(p.cluster, p.flavor) for p in start.placements}
        for resource in RESOURCES
        for statement, by in _overdrawn(snapshot, [*before, start], place, resource).items()
        if by > 0 and by > _overdrawn(snapshot, before, place, resource)[statement]
    }


def _overdrawn(snapshot: Snapshot, uses: Sequence[Use], place: Place, resource: str) -> dict[Statement, int]:
    """By how much each statement is false; true ones by nothing or less."""
    limits = {
        name: (
            getattr(group.quotas[place].nominal, resource),
            getattr(group.quotas[place].borrowing, resource),
            getattr(group.quotas[place].lending, resource),
        )
        for name, group in snapshot.groups.items()
        if place in group.quotas and getattr(group.quotas[place].nominal, resource) is not None
    }
    shared = {name: nominal for name, (nominal, _, _) in limits.items()}
    used = dict.fromkeys([*limits, ROOT], 0)
    for use in uses:
        holder = _holder(limits, use.group)
        if holder != ROOT:
            used[holder] += _amount(use, place, resource)
    pool = 0
    false_by: dict[Statement, int] = {}
    for name in sorted(limits, key=lambda name: -len(above(name))):  # children before parents
        nominal, borrowing, lending = limits[name]
        kept = 0 if lending is None else max(0, shared[name] - lending)
        from_above = max(0, used[name] - kept)
        own_above = shared[name] - kept
        if borrowing is not None:
            false_by[Statement("borrowing", name, place, resource)] = from_above - own_above - borrowing
        parent = _holder(limits, name.rpartition("/")[0])
        used[parent] += from_above
        if parent == ROOT:
            pool += own_above
        else:
            shared[parent] -= nominal - own_above  # kept here or further below
    if limits:
        false_by[Statement("pool", ROOT, place, resource)] = used[ROOT] - pool
    return false_by


def _holder(limits: dict[str, tuple[int, int | None, int | None]], group: str) -> str:
    return next((name for name in above(group) if name in limits), ROOT)


def _amount(use: Use, place: Place, resource: str) -> int:
    return sum(getattr(p.need, resource) for p in use.placements if (p.cluster, p.flavor) == place)


def over_nominal(
    snapshot: Snapshot, uses: Sequence[Use], group: str, place: Place, resource: str
) -> int | None:
    """How much a group with all below it uses beyond its nominal amount; None where it has none."""
    model = snapshot.groups.get(group)
    quota = model.quotas.get(place) if model is not None else None
    nominal = getattr(quota.nominal, resource) if quota is not None else None
    if nominal is None:
        return None
    return sum(_amount(use, place, resource) for use in uses if group in above(use.group)) - nominal


def person_broken(snapshot: Snapshot, before: Sequence[Use], start: Use) -> bool:
    """Whether one person would have more than one person may, in the group or any above it."""
    gpus = sum(placement.need.gpu for placement in start.placements)
    for name in above(start.group):
        model = snapshot.groups.get(name)
        limit = model.person if model is not None else None
        if limit is None:
            continue
        theirs = [use for use in before if use.owner == start.owner and name in above(use.group)]
        if limit.running is not None and len(theirs) + 1 > limit.running:
            return True
        has = sum(placement.need.gpu for use in theirs for placement in use.placements)
        if limit.gpus is not None and gpus and has + gpus > limit.gpus:
            return True
    return False
