"""Machines as arrays, sorted so that a cluster's nodes of one flavor, and each rack of them, lie together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .model import Amount, ClusterModel, NodeModel, Place, Shape

__all__ = ["Ids", "Mask", "Nodes", "Room", "tolerates", "vector"]

Mask = NDArray[np.bool_]
Room = NDArray[np.int64]  # nodes × (cpu, memory, gpu)
Ids = NDArray[np.int64]
_Key = TypeVar("_Key")


def vector(amount: Amount) -> tuple[int, int, int]:
    """CPU, memory, GPUs: the columns of `Room`."""
    return (amount.cpu, amount.memory, amount.gpu)


def tolerates(shape: Shape, taint: tuple[str, str, str]) -> bool:
    """Whether a taint does not keep a workload away."""
    return any(
        key == taint[0] and value in {None, taint[1]} and effect in {None, taint[2]}
        for key, value, effect in shape.tolerations
    )


class Nodes:
    """The nodes of a snapshot, in a fixed order.

    Parameters
    ----------
    clusters
        For their regions.
    """

    def __init__(
        self, nodes: Sequence[NodeModel], clusters: Mapping[str, ClusterModel] | None = None
    ) -> None:
        self.models = sorted(nodes, key=lambda node: (node.cluster, node.flavor, node.levels, node.name))
        self.index = {(node.cluster, node.name): i for i, node in enumerate(self.models)}
        self.names = [node.name for node in self.models]
        self.capacity: Room = np.array([vector(node.capacity) for node in self.models], dtype=np.int64)
        self.capacity = self.capacity.reshape(len(self.models), 3)
        self.usable: Mask = np.array([node.unusable is None for node in self.models], dtype=np.bool_)
        self.pools: dict[Place, slice] = {}
        for i, node in enumerate(self.models):
            begin = self.pools.get((node.cluster, node.flavor), slice(i, i)).start
            self.pools[node.cluster, node.flavor] = slice(begin, i + 1)
        self.regions = {name: cluster.region for name, cluster in (clusters or {}).items()}

    def __len__(self) -> int:
        return len(self.models)

    @cached_property
    def places(self) -> dict[Place, Mask]:
        """Which nodes each cluster and flavor has."""
        masks = {}
        for place, pool in self.pools.items():
            masks[place] = np.zeros(len(self.models), np.bool_)
            masks[place][pool] = True
        return masks

    @cached_property
    def clusters(self) -> list[str]:
        """Names of the clusters that have nodes, in order."""
        return sorted({cluster for cluster, _ in self.pools})

    @cached_property
    def gpus(self) -> dict[Place, int]:
        """The most GPUs that one node of each cluster and flavor has."""
        return {place: int(self.capacity[pool, 2].max()) for place, pool in self.pools.items()}

    @cached_property
    def domains(self) -> tuple[Ids, ...]:
        """For each level, the innermost first, which of its parts each node is in.

        A part is a rack, a hall, …, of one cluster. A node whose levels are not known is a part of its own,
        up to the outermost.
        """
        depth = max((len(node.levels) for node in self.models), default=0)
        found = []
        for cut in range(max(depth, 1)):
            paths = [(n.cluster, n.levels[: max(len(n.levels) - cut, 1)] or n.name) for n in self.models]
            number = {path: i for i, path in enumerate(dict.fromkeys(paths))}
            found.append(np.array([number[path] for path in paths], dtype=np.int64))
        return tuple(found)

    def allowed(self, shape: Shape) -> Mask:
        """Nodes that the workload itself does not rule out."""
        mask = np.ones(len(self.models), np.bool_)
        for name in shape.exclude_nodes:
            mask[self._named.get(name, [])] = False
        for address in shape.exclude_addresses:
            mask[self._at.get(address, [])] = False
        for label in shape.labels:
            has = np.zeros(len(self.models), np.bool_)
            has[self._labelled.get(label, [])] = True
            mask &= has
        for taint, tainted in self._tainted.items():
            if not tolerates(shape, taint):
                mask[tainted] = False
        for name, count in shape.extended:
            mask &= self._extended(name) >= count
        return mask

    def _extended(self, name: str) -> Ids:
        return np.array([node.extended.get(name, 0) for node in self.models], dtype=np.int64)

    @cached_property
    def _tainted(self) -> dict[tuple[str, str, str], list[int]]:
        return _index((taint, i) for i, node in enumerate(self.models) for taint in node.taints)

    @cached_property
    def _named(self) -> dict[str, list[int]]:
        return _index(
            (name, i)
            for i, node in enumerate(self.models)
            for name in (node.name, f"{node.cluster}/{node.name}")
        )

    @cached_property
    def _at(self) -> dict[str, list[int]]:
        return _index((node.address, i) for i, node in enumerate(self.models))

    @cached_property
    def _labelled(self) -> dict[tuple[str, str], list[int]]:
        return _index((label, i) for i, node in enumerate(self.models) for label in node.labels.items())


def _index(pairs: Iterable[tuple[_Key, int]]) -> dict[_Key, list[int]]:
    found: dict[_Key, list[int]] = {}
    for key, i in pairs:
        found.setdefault(key, []).append(i)
    return found
