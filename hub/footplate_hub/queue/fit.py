"""Where a gang fits: vectorised over nodes, all replicas or none, as few nodes as possible.

Best fit keeps large holes whole: of the nodes that can take what is left, the one with the least to
spare is used, and nodes without GPUs take what needs none.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .model import Amount, NodeModel, Placement, RoleShape, Shape

__all__ = ["Nodes", "Option", "demand", "feasible", "fit", "options"]

_MOST_OPTIONS = 64  # combinations of roles' flavors that one pass tries for one shape
_ENOUGH = np.int64(2**40)  # replicas that fit where nothing is asked for

Mask = NDArray[np.bool_]
Room = NDArray[np.int64]  # nodes × (cpu, memory, gpu)


class Nodes:
    """The nodes of a snapshot as arrays, in a fixed order."""

    def __init__(self, nodes: Sequence[NodeModel]) -> None:
        self.models = sorted(nodes, key=lambda node: (node.cluster, node.name))
        self.index = {(node.cluster, node.name): i for i, node in enumerate(self.models)}
        self.capacity: Room = np.array([vector(node.capacity) for node in self.models], dtype=np.int64)
        self.capacity = self.capacity.reshape(len(self.models), 3)
        self.usable: Mask = np.array([node.unusable is None for node in self.models], dtype=np.bool_)
        self._places: dict[tuple[str, str], Mask] = {}
        for i, node in enumerate(self.models):
            mask = self._places.setdefault((node.cluster, node.flavor), np.zeros(len(self.models), np.bool_))
            mask[i] = True

    @property
    def places(self) -> Mapping[tuple[str, str], Mask]:
        """Which nodes each cluster and flavor has."""
        return self._places

    def clusters(self) -> list[str]:
        """Names, in order."""
        return sorted({cluster for cluster, _ in self._places})

    def allowed(self, shape: Shape) -> Mask:
        """Nodes that the workload itself does not rule out."""
        mask = np.ones(len(self.models), np.bool_)
        if shape.exclude_nodes or shape.exclude_addresses or shape.labels:
            for i, node in enumerate(self.models):
                mask[i] = (
                    node.name not in shape.exclude_nodes
                    and f"{node.cluster}/{node.name}" not in shape.exclude_nodes
                    and node.address not in shape.exclude_addresses
                    and all(node.labels.get(key) == value for key, value in shape.labels)
                )
        return mask


@dataclass(frozen=True)
class Option:
    """One way to run a shape: a cluster, and for each role the flavor that it would use."""

    cluster: str
    flavors: tuple[str, ...]


def vector(amount: Amount) -> tuple[int, int, int]:
    """CPU, memory, GPUs: the columns of `Room`."""
    return (amount.cpu, amount.memory, amount.gpu)


def options(nodes: Nodes, shape: Shape) -> Iterator[Option]:
    """Ways to run a shape, in the user's order; where the user has none, plain nodes before GPU nodes."""
    for cluster in shape.clusters or nodes.clusters():
        offered = [flavor for where, flavor in nodes.places if where == cluster]
        if not offered:
            continue
        per_role = [_flavors(nodes, cluster, offered, role) for role in shape.roles]
        for flavors in itertools.islice(itertools.product(*per_role), _MOST_OPTIONS):
            yield Option(cluster, flavors)


def _flavors(nodes: Nodes, cluster: str, offered: list[str], role: RoleShape) -> list[str]:
    if role.flavors:
        return [flavor for flavor in role.flavors if flavor in offered]

    def gpus(flavor: str) -> int:
        return int(nodes.capacity[nodes.places[cluster, flavor], 2].max())

    able = [flavor for flavor in offered if gpus(flavor) >= role.need.gpu]
    return sorted(able, key=lambda flavor: (gpus(flavor), flavor))


def fit(nodes: Nodes, free: Room, mask: Mask, shape: Shape, option: Option) -> tuple[Placement, ...] | None:
    """Place the whole gang, or nothing.

    Parameters
    ----------
    free
        What each node has left; not changed.
    mask
        Nodes that may be used.
    """
    where = [mask & nodes.places[option.cluster, flavor] for flavor in option.flavors]
    whole = _on_one_node(nodes, free, where, shape)
    counts: list[list[tuple[int, int]]] | None
    counts = [[(whole, role.replicas)] for role in shape.roles] if whole is not None else None
    if counts is None:
        counts = _spread(free.copy(), where, shape)
    if counts is None:
        return None
    placements: list[Placement] = []
    for role, flavor, taken in zip(shape.roles, option.flavors, counts, strict=True):
        index = 0
        for node, count in taken:
            for _ in range(count):
                placements.append(
                    Placement(role.name, index, option.cluster, nodes.models[node].name, flavor, role.need)
                )
                index += 1
    return tuple(placements)


def feasible(nodes: Nodes, free: Room, mask: Mask, shape: Shape, option: Option) -> bool:
    """Whether `fit` would place the gang; much cheaper where there is one role, as in most."""
    if len(shape.roles) > 1:
        return fit(nodes, free, mask, shape, option) is not None
    [role], [flavor] = shape.roles, option.flavors
    need = np.array(vector(role.need), dtype=np.int64)
    where = mask & nodes.places[option.cluster, flavor]
    return int(_room_for(free[where], need).sum()) >= role.replicas


def demand(shape: Shape, option: Option) -> Mapping[tuple[str, str], Amount]:
    """What a gang takes of each cluster and flavor under an option."""
    sums: dict[tuple[str, str], Amount] = {}
    for role, flavor in zip(shape.roles, option.flavors, strict=True):
        place = (option.cluster, flavor)
        sums[place] = sums.get(place, Amount()) + role.need * role.replicas
    return sums


def _on_one_node(nodes: Nodes, free: Room, where: list[Mask], shape: Shape) -> int | None:
    """The tightest node that takes the gang alone."""
    total = np.array(vector(shape.total), dtype=np.int64)
    able = np.logical_and.reduce([*where, (free >= total).all(axis=1)])
    return _tightest(np.flatnonzero(able), free - total, nodes.capacity)


def _tightest(candidates: NDArray[np.intp], left: Room, capacity: Room) -> int | None:
    if candidates.size == 0:
        return None
    share = left[candidates] / np.maximum(capacity[candidates], 1)
    order = np.lexsort((share[:, 1], share[:, 0], left[candidates, 2]))
    return int(candidates[order[0]])


def _spread(free: Room, where: list[Mask], shape: Shape) -> list[list[tuple[int, int]]] | None:
    """Replicas per node for each role: the most demanding first, on as few nodes as it takes."""
    taken: list[list[tuple[int, int]]] = [[] for _ in shape.roles]
    demanding = sorted(
        range(len(shape.roles)),
        key=lambda r: (-shape.roles[r].need.gpu, -shape.roles[r].need.cpu, -shape.roles[r].need.memory, r),
    )
    for r in demanding:
        role = shape.roles[r]
        need = np.array(vector(role.need), dtype=np.int64)
        room = np.where(where[r], _room_for(free, need), 0)
        if int(room.sum()) < role.replicas:
            return None
        left = role.replicas
        while left:
            enough = np.flatnonzero(room >= left)
            if enough.size:
                node = int(enough[np.lexsort((enough, free[enough, 0], free[enough, 2], room[enough]))[0]])
            else:
                node = int(np.argmax(room))
            count = min(left, int(room[node]))
            taken[r].append((node, count))
            free[node] -= need * count
            room[node] = 0
            left -= count
    return taken


def _room_for(free: Room, need: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many replicas each node has room for."""
    asked = need > 0
    if not asked.any():
        return np.full(len(free), _ENOUGH, dtype=np.int64)
    counts: NDArray[np.int64] = (free[:, asked] // need[asked]).min(axis=1)
    return np.maximum(counts, 0)
