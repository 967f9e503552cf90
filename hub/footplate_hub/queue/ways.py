"""The ways to run a shape: on which cluster, and each role on which flavor."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .model import Amount, Place, RoleShape, Shape
from .nodes import Nodes

__all__ = ["Option", "demand", "options"]

_MOST_OPTIONS = 64  # combinations of roles' flavors that one pass tries for one shape


@dataclass(frozen=True)
class Option:
    """One way to run a shape: a cluster, and for each role the flavor that it would use."""

    cluster: str
    flavors: tuple[str, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        """Each cluster and flavor that it takes nodes from, once."""
        return tuple((self.cluster, flavor) for flavor in dict.fromkeys(self.flavors))


def options(nodes: Nodes, shape: Shape) -> Iterator[Option]:
    """Ways to run a shape, in the user's order; where the user has none, plain nodes before GPU nodes."""
    for cluster in shape.clusters or nodes.clusters:
        if shape.region and nodes.regions.get(cluster, "") != shape.region:
            continue
        offered = [flavor for where, flavor in nodes.pools if where == cluster]
        if not offered:
            continue
        per_role = [_flavors(nodes, cluster, offered, role) for role in shape.roles]
        for flavors in itertools.islice(itertools.product(*per_role), _MOST_OPTIONS):
            yield Option(cluster, flavors)


def _flavors(nodes: Nodes, cluster: str, offered: list[str], role: RoleShape) -> list[str]:
    if role.flavors:
        return [flavor for flavor in role.flavors if flavor in offered]
    able = [flavor for flavor in offered if nodes.gpus[cluster, flavor] >= role.need.gpu]
    return sorted(able, key=lambda flavor: (nodes.gpus[cluster, flavor], flavor))


def demand(shape: Shape, option: Option, replicas: Sequence[int] | None = None) -> Mapping[Place, Amount]:
    """What a gang takes of each cluster and flavor under an option.

    Parameters
    ----------
    replicas
        Of each role; unset: the fewest.
    """
    counts = replicas or [role.replicas for role in shape.roles]
    sums: dict[Place, Amount] = {}
    for role, flavor, count in zip(shape.roles, option.flavors, counts, strict=True):
        place = (option.cluster, flavor)
        sums[place] = sums.get(place, Amount()) + role.need * count
    return sums
