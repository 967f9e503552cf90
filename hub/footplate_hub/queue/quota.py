"""Quotas during one pass: who uses how much of what, what each group may still have, and who is in the way.

Each resource of each cluster and flavor has a tree of its own (`resource_tree`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .model import Amount, GroupModel, Limit, PersonLimit, Place, Placement, Running
from .resource_tree import ROOT, UNLIMITED, ResourceTree, Shortage

__all__ = ["RESOURCES", "PersonShortage", "Quotas", "lineage"]

RESOURCES = ("cpu", "memory", "gpu")
_Values = tuple[int, int, int]  # of RESOURCES, in their order


@lru_cache(maxsize=2**16)
def lineage(group: str) -> tuple[str, ...]:
    """A group and all groups above it: ``a/b`` gives ``a/b``, ``a``."""
    return (group, *lineage(group.rpartition("/")[0])) if group else ()


@dataclass(frozen=True, slots=True)
class PersonShortage:
    """What one person may have within a group, and has. ``resource``: ``running`` or ``gpus``."""

    group: str
    owner: str
    resource: Literal["running", "gpus"]
    asked: int
    used: int
    limit: int


class Quotas:
    """The use that counts against every quota; it grows as a pass admits, and shrinks as it preempts.

    Parameters
    ----------
    groups
        By name; those that are not named have no quota of their own.
    running
        What counts from the start.
    """

    def __init__(self, groups: Mapping[str, GroupModel], running: Iterable[Running] = ()) -> None:
        self._trees: dict[Place, tuple[ResourceTree | None, ...]] = {}
        for place in dict.fromkeys(place for group in groups.values() for place in group.quotas):
            self._trees[place] = tuple(_tree(groups, place, resource) for resource in RESOURCES)
        self._persons: dict[str, PersonLimit] = {
            name: group.person for name, group in groups.items() if group.person is not None
        }
        self._has: dict[tuple[str, str], tuple[int, int]] = {}  # group, owner -> attempts, GPUs
        self._bounds: dict[Place, NDArray[np.int64]] = {}  # of the groups that were asked for last
        self._available: dict[Place, dict[str, _Values]] = {place: {} for place in self._trees}
        for attempt in running:
            self.take(attempt.group, attempt.owner, attempt.placements)

    def copy(self) -> Quotas:
        """The same limits with use of their own from here on."""
        other = Quotas.__new__(Quotas)
        other._trees = {
            place: tuple(tree.copy() if tree is not None else None for tree in trees)
            for place, trees in self._trees.items()
        }
        other._persons = self._persons
        other._has = dict(self._has)
        other._bounds = dict(self._bounds)
        other._available = {place: dict(known) for place, known in self._available.items()}
        return other

    # Counting

    def take(self, group: str, owner: str, placements: Iterable[Placement]) -> None:
        """Count what was placed."""
        self._count(group, owner, placements, 1)

    def release(self, group: str, owner: str, placements: Iterable[Placement]) -> None:
        """Count it no more."""
        self._count(group, owner, placements, -1)

    def _count(self, group: str, owner: str, placements: Iterable[Placement], sign: int) -> None:
        placements = tuple(placements)
        self.count_amounts(group, placements, sign)
        self.count_person(group, owner, sign, sign * sum(placement.need.gpu for placement in placements))

    def count_amounts(self, group: str, placements: Iterable[Placement], sign: int) -> None:
        """`take` or `release` of a group alone, whoever's it is."""
        sums: dict[Place, Amount] = {}
        for placement in placements:
            place = (placement.cluster, placement.flavor)
            if place in self._trees:
                sums[place] = sums.get(place, Amount()) + placement.need
        for place, amount in sums.items():
            for tree, value in zip(self._trees[place], _values(amount), strict=True):
                if tree is not None and value:
                    tree.add(group, sign * value)
            self._forget(place)

    def count_person(self, group: str, owner: str, attempts: int, gpus: int) -> None:
        """Count attempts of a person, and their GPUs, in a group and those above it."""
        for holder in lineage(group) if self._persons else ():
            if holder in self._persons:
                before, had = self._has.get((holder, owner), (0, 0))
                self._has[holder, owner] = (before + attempts, had + gpus)

    def look_ahead(self, place: Place, now: Quotas, ended: Mapping[str, _Values]) -> None:
        """Count of one pool what ``now`` does, less what groups have given back by some time."""
        if place in self._trees:
            self._trees[place] = tuple(
                tree.less({group: values[column] for group, values in ended.items()})
                if tree is not None
                else None
                for column, tree in enumerate(now._trees[place])
            )
            self._forget(place)

    def look_ahead_for(self, owner: str, now: Quotas, ended: Iterable[tuple[str, int, int]]) -> None:
        """Count of one person what ``now`` does, less attempts, and their GPUs, that ended in groups."""
        for holder in self._persons:
            self._has[holder, owner] = now._has.get((holder, owner), (0, 0))
        for group, attempts, gpus in ended:
            self.count_person(group, owner, -attempts, -gpus)

    def _forget(self, place: Place) -> None:
        self._available[place] = {}
        self._bounds.pop(place, None)

    # Asking

    def available(self, group: str, place: Place) -> _Values:
        """CPU, memory and GPUs that a group could still have now; `UNLIMITED` where nothing limits it."""
        known = self._available.get(place)
        if known is None:
            return (UNLIMITED, UNLIMITED, UNLIMITED)
        if group not in known:
            cpu, memory, gpu = (
                UNLIMITED if tree is None else tree.available(group) for tree in self._trees[place]
            )
            known[group] = (cpu, memory, gpu)
        return known[group]

    def most(self, group: str, place: Place) -> _Values:
        """CPU, memory and GPUs that a group could have if nobody else had any."""
        cpu, memory, gpu = (
            UNLIMITED if tree is None else tree.most_of(group)
            for tree in self._trees.get(place, (None,) * len(RESOURCES))
        )
        return (cpu, memory, gpu)

    def bounds(self, place: Place, groups: list[str]) -> NDArray[np.int64] | None:
        """What each group could have more (groups × CPU, memory, GPUs); None where nothing limits anybody.

        Returns
        -------
        array
            Three of these, one after the other: now, before any borrowing limit stands in the way, and if
            nobody else had any.
        """
        trees = self._trees.get(place)
        if trees is None:
            return None
        known = self._bounds.get(place)
        if known is not None and known.shape[1] == len(groups):
            return known
        found = np.full((3, len(groups), len(RESOURCES)), UNLIMITED, dtype=np.int64)
        for column, tree in enumerate(trees):
            if tree is not None:
                found[:, :, column] = tree.bounds()[:, tree.holders(groups)]
        self._bounds[place] = found
        return found

    def reclaimable(self, place: Place, groups: list[str]) -> NDArray[np.int64]:
        """The most that each group might take back from some other (groups × CPU, memory, GPUs).

        It is no more than the group, and those above it up to the one that has a borrower below it too, have
        left of their nominal amounts; negative where nobody borrows, or nothing is the group's own.
        """
        found = np.full((len(groups), len(RESOURCES)), -1, dtype=np.int64)
        for column, tree in enumerate(self._trees.get(place, ())):
            if tree is not None and tree.over_nominal().any():
                found[:, column] = tree.reclaimable()[tree.holders(groups)]
        return found

    def might_reclaim(self, group: str, asked: Mapping[Place, Amount]) -> bool:
        """Whether `may_reclaim` could be true of any borrower."""
        return any(
            tree.over() and value <= tree.reclaimable()[tree.holder(group)]
            for _, tree, _, value in self._asked(asked)
        )

    def person_limits(self, group: str) -> list[tuple[str, PersonLimit]]:
        """Limits of one person that hold for a group: its own and those of groups above it."""
        return [(name, self._persons[name]) for name in lineage(group) if name in self._persons]

    def left_for(self, group: str, owner: str) -> tuple[int, int]:
        """Attempts and GPUs that one person may have more in a group."""
        attempts, gpus = UNLIMITED, UNLIMITED
        for holder, limit in self.person_limits(group):
            have, had = self._has.get((holder, owner), (0, 0))
            attempts = attempts if limit.running is None else min(attempts, limit.running - have)
            gpus = gpus if limit.gpus is None else min(gpus, limit.gpus - had)
        return attempts, gpus

    def allows(self, group: str, asked: Mapping[Place, Amount]) -> bool:
        """Whether `shortages` is empty, at a fraction of its cost."""
        for place, amount in asked.items():
            if place in self._trees:
                cpu, memory, gpu = self.available(group, place)
                if (
                    (amount.gpu and amount.gpu > gpu)
                    or (amount.cpu and amount.cpu > cpu)
                    or (amount.memory and amount.memory > memory)
                ):
                    return False
        return True

    def allows_person(self, group: str, owner: str, gpus: int) -> bool:
        """Whether `person_shortages` is empty."""
        return not (self._persons and self.person_shortages(group, owner, gpus))

    def shortages(self, group: str, asked: Mapping[Place, Amount]) -> list[Shortage]:
        """Every quota that ``asked`` would pass; for each resource, that nearest to the asker first."""
        if self.allows(group, asked):
            return []
        found: list[Shortage] = []
        for place, tree, resource, value in self._asked(asked):
            if value > tree.available(group):
                found += tree.shortages(group, place, resource, value)
        return found

    def person_shortages(self, group: str, owner: str, gpus: int) -> list[PersonShortage]:
        """Every limit of one person that one more workload with so many GPUs would pass."""
        found = []
        for holder in lineage(group):
            limit = self._persons.get(holder)
            if limit is None:
                continue
            attempts, had = self._has.get((holder, owner), (0, 0))
            if limit.running is not None and attempts + 1 > limit.running:
                found.append(PersonShortage(holder, owner, "running", 1, attempts, limit.running))
            if limit.gpus is not None and gpus and had + gpus > limit.gpus:
                found.append(PersonShortage(holder, owner, "gpus", gpus, had, limit.gpus))
        return found

    # Borrowing

    def within_nominal(self, group: str, asked: Mapping[Place, Amount]) -> bool:
        """Whether the group has a nominal amount of something asked, and stays within it in everything."""
        own = False
        for _, tree, _, value in self._asked(asked):
            holder = tree.holder(group)
            if holder != ROOT:
                own = True
                if tree.total[holder] + value > tree.nominal[holder]:
                    return False
        return own

    def may_reclaim(self, group: str, asked: Mapping[Place, Amount], borrower: str) -> bool:
        """Whether what ``borrower`` uses is, by quota, the group's own.

        Below the nearest group that has both of them, everyone on the group's side stays within its nominal
        amounts with ``asked`` added, and everyone on the borrower's side uses more than its own of something
        that is asked. A group that is above the other has nothing to give back to it: what it uses itself
        was never a sister's.
        """
        borrowed = False
        for _, tree, _, value in self._asked(asked):
            mine, theirs = tree.apart(group, borrower)
            if any(tree.total[node] + value > tree.nominal[node] for node in mine):
                return False
            if mine and theirs and all(tree.total[node] > tree.nominal[node] for node in theirs):
                borrowed = True
        return borrowed

    def borrowing(self, asked: Mapping[Place, Amount], groups: list[str]) -> set[str]:
        """Those of some groups that use more than their own of something that is asked."""
        over = np.zeros(len(groups), np.bool_)
        for _, tree, _, _ in self._asked(asked):
            over |= tree.over_nominal()[tree.holders(groups)]
        return {groups[number] for number in np.flatnonzero(over).tolist()}

    def over_nominal(self, place: Place, groups: list[str]) -> NDArray[np.bool_]:
        """Which of these groups use more than their own of something."""
        found = np.zeros(len(groups), np.bool_)
        for tree in self._trees.get(place, ()):
            if tree is not None:
                found |= tree.over_nominal()[tree.holders(groups)]
        return found

    def borrowing_groups(self, place: Place) -> dict[str, Amount]:
        """Groups that use more than their own, and how much more."""
        over: dict[str, dict[str, int]] = {}
        for tree, resource in zip(self._trees.get(place, ()), RESOURCES, strict=False):
            if tree is not None:
                for node, more in itertools.chain.from_iterable(tree.over().values()):
                    over.setdefault(tree.names[node], {})[resource] = more
        return {name: Amount(**amounts) for name, amounts in sorted(over.items())}

    def _asked(self, asked: Mapping[Place, Amount]) -> Iterator[tuple[Place, ResourceTree, str, int]]:
        for place, amount in asked.items():
            trees = self._trees.get(place)
            if trees is not None:
                for tree, resource, value in zip(trees, RESOURCES, _values(amount), strict=True):
                    if tree is not None and value:
                        yield place, tree, resource, value


def _tree(groups: Mapping[str, GroupModel], place: Place, resource: str) -> ResourceTree | None:
    limits: dict[str, tuple[int, int | None, int | None]] = {}
    for name, group in groups.items():
        quota = group.quotas.get(place)
        if quota is not None and (nominal := _of(quota.nominal, resource)) is not None:
            limits[name] = (nominal, _of(quota.borrowing, resource), _of(quota.lending, resource))
    return ResourceTree(limits) if limits else None


def _of(limit: Limit, resource: str) -> int | None:
    value: int | None = getattr(limit, resource)
    return value


def _values(amount: Amount) -> _Values:
    return (amount.cpu, amount.memory, amount.gpu)
