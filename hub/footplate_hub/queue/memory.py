"""What a pass may take over from the one before: all that depends only on what is still the same.

It never changes a plan. What is the same object (nodes, lines, attempts) is taken to be unchanged, as frozen
data are; groups and clusters are compared.
"""

from __future__ import annotations

from .columns import Columns
from .forms import Forms
from .model import Snapshot
from .nodes import Nodes
from .occupied import Occupied

__all__ = ["Memory"]


class Memory:
    """Columns of the pass before. One memory serves passes one after the other."""

    def __init__(self) -> None:
        self._nodes: object = None
        self._regions: object = None
        self._policies: object = None
        self._limits: object = None
        self._forms: Forms | None = None
        self._columns: Columns | None = None
        self._occupied: Occupied | None = None

    def recall(self, snapshot: Snapshot) -> tuple[Forms, Columns, Occupied]:
        """Columns of a snapshot."""
        regions = {name: cluster.region for name, cluster in snapshot.clusters.items()}
        forms = self._forms
        if forms is None or self._nodes is not snapshot.nodes or self._regions != regions:
            forms = self._forms = Forms(Nodes(snapshot.nodes, snapshot.clusters))
            self._nodes, self._regions = snapshot.nodes, regions
            self._columns = self._occupied = None
        policies = [
            {name: model.policy for name, model in models.items() if model.policy is not None}
            for models in (snapshot.groups, snapshot.clusters)
        ]
        columns = self._columns
        if columns is None or columns.crowded or self._policies != policies:
            columns = self._columns = Columns(forms, snapshot)
            self._policies = policies
        else:
            columns.update(snapshot.lines)
        limits = {name: (group.quotas, group.person) for name, group in snapshot.groups.items()}
        occupied = self._occupied
        if occupied is None or self._limits != limits:
            occupied = self._occupied = Occupied(forms.nodes, snapshot.groups, snapshot.running)
            self._limits = limits
        else:
            occupied.update(snapshot.running)
        return forms, columns, occupied
