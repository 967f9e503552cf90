"""What a pass may take over from the one before: all that depends only on what is still the same.

It never changes a plan. What is the same object (nodes, lines, attempts) is taken to be unchanged, as frozen
data are; groups and clusters are compared.
"""

from __future__ import annotations

from dataclasses import dataclass

from .columns import Columns
from .forms import Forms
from .model import Snapshot
from .nodes import Nodes
from .occupied import Occupied
from .pairs import Pairs, View
from .persons import Persons

__all__ = ["Memory", "Recalled"]


@dataclass(frozen=True)
class Recalled:
    """Columns of a snapshot. ``free`` is what stood free when it was last looked at."""

    forms: Forms
    columns: Columns
    occupied: Occupied
    persons: Persons
    pairs: Pairs
    free: View


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
        self._persons: Persons | None = None
        self._pairs: Pairs | None = None
        self._free: View | None = None

    def recall(self, snapshot: Snapshot) -> Recalled:
        """Bring all columns in step with a snapshot."""
        forms = self._recall_forms(snapshot)
        columns = self._recall_columns(forms, snapshot)
        occupied = self._recall_occupied(forms, snapshot)
        persons = self._persons = self._persons or Persons(columns)
        persons.stale(occupied.changed)
        occupied.changed.clear()
        forms.settle()
        pairs, free = self._pairs, self._free
        if pairs is None or free is None or pairs.slots < len(columns.slot_shape):
            pairs = self._pairs = Pairs(forms, columns)
            free = self._free = View(forms, pairs, columns.groups)
        else:
            pairs.rows(columns)
        return Recalled(forms, columns, occupied, persons, pairs, free)

    def _recall_forms(self, snapshot: Snapshot) -> Forms:
        regions = {name: cluster.region for name, cluster in snapshot.clusters.items()}
        forms = self._forms
        if forms is None or self._nodes is not snapshot.nodes or self._regions != regions:
            forms = self._forms = Forms(Nodes(snapshot.nodes, snapshot.clusters))
            self._nodes, self._regions = snapshot.nodes, regions
            self._columns = self._occupied = None
        return forms

    def _recall_columns(self, forms: Forms, snapshot: Snapshot) -> Columns:
        policies = [
            {name: model.policy for name, model in models.items() if model.policy is not None}
            for models in (snapshot.groups, snapshot.clusters)
        ]
        columns = self._columns
        if columns is None or columns.crowded or self._policies != policies:
            columns = self._columns = Columns(forms, snapshot)
            self._policies = policies
            self._persons = self._pairs = None
        else:
            columns.update(snapshot.lines)
        return columns

    def _recall_occupied(self, forms: Forms, snapshot: Snapshot) -> Occupied:
        limits = {name: (group.quotas, group.person) for name, group in snapshot.groups.items()}
        occupied = self._occupied
        if occupied is None or self._limits != limits:
            occupied = self._occupied = Occupied(forms.nodes, snapshot.groups, snapshot.running)
            self._limits = limits
            self._persons = self._pairs = None
        else:
            occupied.update(snapshot.running)
        return occupied
