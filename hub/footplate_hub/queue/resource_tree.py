"""The groups that have a quota of one resource, as a tree: what each uses and may still have.

They stand under one implied root. A group without a nominal amount is transparent: its use counts in the
nearest group above that has one, and where there is none it is open and counts nowhere. What a group does not
keep for itself (``lending``) is shared by all under its parent. The formulas are those of Kueue's
hierarchical cohorts (``pkg/cache/scheduler/resource_node.go``), for groups whose nominal amount includes what
is below them; but what a group keeps stays its own even when others have more than there is, after a quota
was lowered:

- shared(n) = nominal(n) - the sum over its children c of nominal(c) - (shared(c) - kept(c))
- kept(n) = max(0, shared(n) - lending(n)), or 0 where lending is unset
- use(n) = its own use + the sum of max(0, use(c) - kept(c)) over its children c
- available(n) = max(0, kept(n) - use(n)) + max(0, min(available(parent), headroom(n)))
- headroom(n) = shared(n) - kept(n) - max(0, use(n) - kept(n)) + borrowing(n)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .model import Place

__all__ = ["ROOT", "UNLIMITED", "ResourceTree", "Shortage"]

UNLIMITED = 2**62
ROOT = 0

Values = NDArray[np.int64]
Ids = NDArray[np.int64]
_LISTS = 8  # of groups that were asked for


@dataclass(frozen=True, slots=True)
class Shortage:
    """A quota that does not allow what is asked.

    Parameters
    ----------
    kind
        ``never``: more than could ever be had; ``borrowing``: the group's borrowing limit stands in the way;
        ``now``: others use it.
    group
        Whose quota stands in the way: the asker's group, or one above it.
    nominal, used, borrowed
        The group's own, what it uses with all groups below it, and how much of that is beyond its own.
    limit
        The most that the asker could have: ever, or, for ``borrowing``, the most that the group may use.
    lent
        How much more than their own the sisters use, of the group and of those between it and the asker. They
        are not named: not everyone may see them.
    left
        What nobody uses of all that may be lent.
    """

    kind: Literal["never", "borrowing", "now"]
    group: str
    place: Place
    resource: str
    asked: int
    nominal: int
    used: int
    limit: int
    lent: int = 0
    left: int = 0

    @property
    def borrowed(self) -> int:
        """How much of its use is beyond its own."""
        return max(0, self.used - self.nominal)


class ResourceTree:
    """The groups that have a nominal amount of one resource, parents first; `ROOT` is above them all."""

    def __init__(self, limits: Mapping[str, tuple[int, int | None, int | None]]) -> None:
        self.names = ["", *sorted(limits)]  # a path sorts behind its beginning
        self._nodes = {name: node for node, name in enumerate(self.names)}
        self._nodes[""] = ROOT
        self.nominal = [0, *(limits[name][0] for name in self.names[1:])]
        borrowing = [0, *(limits[name][1] for name in self.names[1:])]
        lending = [None, *(limits[name][2] for name in self.names[1:])]
        self.borrowing = [UNLIMITED if most is None else most for most in borrowing]
        count = len(self.names)
        self.parent = [ROOT, *(self.holder(name.rpartition("/")[0]) for name in self.names[1:])]
        self.shared = list(self.nominal)
        self.kept = [0] * count
        for node in range(count - 1, ROOT, -1):
            most = lending[node]
            self.kept[node] = 0 if most is None else max(0, self.shared[node] - most)
            if self.parent[node] == ROOT:
                self.shared[ROOT] += self.shared[node] - self.kept[node]
            else:
                below = self.nominal[node] - self.shared[node] + self.kept[node]
                self.shared[self.parent[node]] -= below
        self.most = list(self.shared)
        for node in range(1, count):
            self.most[node] = min(
                self.shared[node] + self.borrowing[node], self.kept[node] + self.most[self.parent[node]]
            )
        self.use = [0] * count
        self.total = [0] * count
        self._fixed = _Fixed(self)
        self._known: dict[int, int] = {}
        self._over: NDArray[np.bool_] | None = None
        self._borrowers: dict[int, list[tuple[int, int]]] | None = None
        self._reclaimable: Values | None = None

    def copy(self) -> ResourceTree:
        """The same groups with use of their own from here on."""
        other = copy.copy(self)
        other.use, other.total = list(self.use), list(self.total)
        other._known = dict(self._known)
        return other

    def less(self, ended: Mapping[str, int]) -> ResourceTree:
        """A copy in which groups use so much less themselves."""
        other = self.copy()
        other._known = {}
        other._over = other._borrowers = other._reclaimable = None
        count = len(self.names)
        total = [0] * count
        for group, value in ended.items():
            total[self.holder(group)] += value
        own = list(total)
        above = [0] * count  # what each no longer passes on to the group above it
        for node in range(count - 1, ROOT, -1):
            parent, kept = self.parent[node], self.kept[node]
            other.total[node] -= total[node]
            other.use[node] -= own[node] + above[node]
            total[parent] += total[node]
            above[parent] += max(0, self.use[node] - kept) - max(0, other.use[node] - kept)
        other.use[ROOT] -= above[ROOT]
        return other

    def holder(self, group: str) -> int:
        """The nearest group, from this one up, that has a nominal amount; `ROOT` if there is none."""
        node = self._nodes.get(group)
        if node is None:
            node = self._nodes[group] = self.holder(group.rpartition("/")[0])
        return node

    def add(self, group: str, value: int) -> None:
        """Count use; what is beyond what a group keeps counts above it too."""
        node = self.holder(group)
        above = value
        while node != ROOT:
            before = self.use[node]
            self.use[node] += above
            self.total[node] += value
            above = max(0, before + above - self.kept[node]) - max(0, before - self.kept[node])
            node = self.parent[node]
            if node == ROOT:
                self.use[ROOT] += above
        self._known.clear()
        self._over = self._borrowers = self._reclaimable = None

    def available(self, group: str) -> int:
        """What it could still have."""
        node = self.holder(group)
        return UNLIMITED if node == ROOT else self._left(node)

    def holders(self, groups: list[str]) -> Ids:
        """`holder` of each group; ``groups`` may only ever grow."""
        return self._fixed.holders(groups, self.holder)

    def bounds(self) -> Values:
        """`available`, the same without the pool's limit, and `most_of`: of every node (3 × nodes)."""
        fixed = self._fixed
        use = np.array(self.use, dtype=np.int64)
        local = np.maximum(0, fixed.kept - use)
        headroom = fixed.shared - fixed.kept - np.maximum(0, use - fixed.kept)
        headroom = np.where(fixed.limited, headroom + fixed.borrowing, UNLIMITED)
        found = np.full((3, len(use)), UNLIMITED, dtype=np.int64)
        found[0, ROOT] = self.shared[ROOT] - self.use[ROOT]
        found[2] = fixed.most
        for level, parents in fixed.levels:
            above = np.minimum(found[:2, parents], headroom[level])
            found[:2, level] = local[level] + np.maximum(0, above)
        found[:, ROOT] = UNLIMITED
        return found

    def most_of(self, group: str) -> int:
        """What it could have if nobody else had any."""
        node = self.holder(group)
        return UNLIMITED if node == ROOT else self.most[node]

    def _left(self, node: int) -> int:
        if node not in self._known:
            if node == ROOT:
                self._known[node] = self.shared[node] - self.use[node]
            else:
                local = max(0, self.kept[node] - self.use[node])
                above = min(self._left(self.parent[node]), self._headroom(node))
                self._known[node] = local + max(0, above)
        return self._known[node]

    def _headroom(self, node: int) -> int:
        kept = self.kept[node]
        return self.shared[node] - kept - max(0, self.use[node] - kept) + self.borrowing[node]

    def shortages(self, group: str, place: Place, resource: str, asked: int) -> list[Shortage]:
        """Why it cannot have so much: for good, or each group on the way up that stands in the way."""
        path = self._path(group)
        most = self.most[path[0]]

        def shortage(kind: Literal["never", "borrowing", "now"], node: int, limit: int) -> Shortage:
            used, nominal = self.total[node], self.nominal[node]
            return Shortage(kind, self.names[node], place, resource, asked, nominal, used, limit, lent, left)

        lent, left = 0, max(0, self._left(ROOT))
        if asked > most:
            return [shortage("never", self._least(path, asked), most)]
        found = []
        want = asked
        for node in path:
            lent += self._sisters_borrow(node)
            want -= max(0, self.kept[node] - self.use[node])
            if want <= 0:  # kept for it, whatever others overdrew
                break
            if want > self._headroom(node):
                found.append(shortage("borrowing", node, self.nominal[node] + self.borrowing[node]))
        if want > left:
            found.append(shortage("now", path[-1], most))
        return found

    def _least(self, path: list[int], asked: int) -> int:
        """The group whose quota, with all that it may borrow, is too small."""
        below = 0  # what the groups passed on the way up keep
        for node in path:
            if asked > below + self.shared[node] + self.borrowing[node]:
                return node
            below += self.kept[node]
        return path[-1]

    def reclaimable(self) -> Values:
        """What each node might take back; -1 where there is nothing of its own, or no borrower beside it."""
        if self._reclaimable is None:
            fixed, over = self._fixed, self.over_nominal()
            left = fixed.nominal - np.array(self.total, dtype=np.int64)
            below = np.bincount(fixed.parent[over], minlength=len(over))  # borrowers under each node
            beside = below[fixed.parent] > over
            found = np.full(len(left), -1, dtype=np.int64)
            for level, parents in fixed.levels:
                found[level] = np.where(beside[level], left[level], np.minimum(left[level], found[parents]))
            self._reclaimable = found
        return self._reclaimable

    def over(self) -> dict[int, list[tuple[int, int]]]:
        """By parent: who uses more than its own, and how much more, the most first."""
        if self._borrowers is None:
            self._borrowers = {}
            for node in np.flatnonzero(self.over_nominal()).tolist():
                more = self.total[node] - self.nominal[node]
                self._borrowers.setdefault(self.parent[node], []).append((node, more))
            for borrowers in self._borrowers.values():
                borrowers.sort(key=lambda borrower: (-borrower[1], borrower[0]))
        return self._borrowers

    def over_nominal(self) -> NDArray[np.bool_]:
        """Which nodes use more than their own."""
        if self._over is None:
            self._over = np.array(self.total, dtype=np.int64) > self._fixed.nominal
            self._over[ROOT] = False
        return self._over

    def _sisters_borrow(self, node: int) -> int:
        borrowers = self.over().get(self.parent[node], [])
        return sum(more for other, more in borrowers if other != node)

    def apart(self, group: str, other: str) -> tuple[list[int], list[int]]:
        """The groups on either side below the nearest one that has both."""
        mine, theirs = self._path(group), self._path(other)
        while mine and theirs and mine[-1] == theirs[-1]:
            mine.pop()
            theirs.pop()
        return mine, theirs

    def _path(self, group: str) -> list[int]:
        """The group's holder and all above it, without the root."""
        node, path = self.holder(group), []
        while node != ROOT:
            path.append(node)
            node = self.parent[node]
        return path


class _Fixed:
    """What does not change with use, as columns; all copies of a tree share it."""

    def __init__(self, tree: ResourceTree) -> None:
        self.parent: Ids = np.array(tree.parent, dtype=np.int64)
        self.nominal, self.kept, self.shared, most, borrowing = (
            np.array(values, dtype=np.int64)
            for values in (tree.nominal, tree.kept, tree.shared, tree.most, tree.borrowing)
        )
        self.most: Values = most
        self.most[ROOT] = UNLIMITED
        self.limited = borrowing < UNLIMITED
        self.borrowing: Values = np.where(self.limited, borrowing, 0)
        depth = [0] * len(tree.parent)
        for node in range(1, len(depth)):
            depth[node] = depth[tree.parent[node]] + 1
        levels = [np.flatnonzero(np.array(depth) == level) for level in range(1, max(depth) + 1)]
        self.levels = [(level, self.parent[level]) for level in levels]
        self._holders: dict[int, tuple[list[str], Ids]] = {}  # held, so that no other list gets one's id

    def holders(self, groups: list[str], holder: Callable[[str], int]) -> Ids:
        _, known = self._holders.get(id(groups), (groups, np.zeros(0, dtype=np.int64)))
        if len(known) < len(groups):
            more = [holder(group) for group in groups[len(known) :]]
            known = np.concatenate([known, np.array(more, dtype=np.int64)])
            if len(self._holders) > _LISTS:
                self._holders.clear()
            self._holders[id(groups)] = (groups, known)
        return known
