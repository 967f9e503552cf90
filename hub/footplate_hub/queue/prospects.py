"""What is known of a shape before a pass looks at what is free: where it may go, where it never fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from .fit import feasible
from .model import Amount, Place, Shape
from .nodes import Mask, Nodes
from .ways import Option, demand, options

__all__ = ["Prospect", "Way"]


@dataclass(frozen=True)
class Way:
    """An option of a shape, and what the gang takes under it."""

    number: int
    option: Option
    demand: Mapping[Place, Amount]


class Prospect:
    """A shape on the nodes of a snapshot.

    Parameters
    ----------
    number
        Tells it apart from others of the pass.
    masks
        Nodes that the shape permits, and those of them that are usable, if they are known already.
    """

    def __init__(
        self, nodes: Nodes, number: int, shape: Shape, masks: tuple[Mask, Mask] | None = None
    ) -> None:
        self.number = number
        self._nodes = nodes
        self.shape = shape
        self.ways = [Way(i, way, demand(shape, way)) for i, way in enumerate(options(nodes, shape))]
        if masks is None:
            allowed = nodes.allowed(shape)
            masks = allowed, allowed & nodes.usable
        self.allowed, self.mask = masks
        self.gpus = shape.total.gpu
        self._fits: dict[int, bool] = {}

    def fits(self, way: Way) -> bool:
        """Whether it would fit if nothing else ran."""
        if way.number not in self._fits:
            self._fits[way.number] = feasible(
                self._nodes, self._nodes.capacity, self.mask, self.shape, way.option
            )
        return self._fits[way.number]

    @cached_property
    def elastic(self) -> list[int]:
        """Roles that can use more than their fewest replicas."""
        return [r for r, role in enumerate(self.shape.roles) if role.most and role.most > role.replicas]
