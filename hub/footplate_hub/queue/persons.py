"""What one person may have at a time, for every row whose group limits it."""

from __future__ import annotations

import numpy as np

from .columns import Columns
from .forms import Forms
from .nodes import Ids, Mask
from .quota import Quotas

__all__ = ["Persons"]

_NO_LIMIT = 2**62


class Persons:
    """Rows, and whether a limit of their owner stands in the way."""

    def __init__(self, columns: Columns, forms: Forms, quotas: Quotas) -> None:
        self.refused: Mask = np.zeros(len(columns), np.bool_)
        self._owners = columns.owners
        self._holders: dict[str, int] = {}
        limits = [quotas.person_limits(group) for group in columns.groups]
        depth = max(map(len, limits), default=0)
        table = np.full((len(limits), depth, 3), _NO_LIMIT, dtype=np.int64)  # holder, attempts, GPUs
        table[:, :, 0] = -1
        for group, found in enumerate(limits):
            for level, (holder, limit) in enumerate(found):
                number = self._holders.setdefault(holder, len(self._holders))
                most = [_NO_LIMIT if m is None else m for m in (limit.running, limit.gpus)]
                table[group, level] = (number, *most)
        limited = np.array([bool(found) for found in limits], dtype=np.bool_)
        self._rows: Ids = np.flatnonzero(limited[columns.group]) if depth else np.zeros(0, dtype=np.int64)
        self._limits = table[columns.group[self._rows]]
        self._columns = columns
        self._owner: Ids = columns.owner[self._rows]
        gpus = np.array([prospect.gpus for prospect in forms.prospects], dtype=np.int64)
        self._gpus: Ids = gpus[columns.slot_shape[columns.slot[self._rows]]] if depth else self._rows
        if len(self._rows):
            self._look(quotas)

    def look_again(self, quotas: Quotas, owners: set[str]) -> None:
        """Take in what counts now, where it changed for these persons only."""
        numbers = [self._owners[owner] for owner in owners if owner in self._owners]
        for i in np.flatnonzero(np.isin(self._owner, numbers)).tolist() if numbers else ():
            row = int(self._rows[i])
            workload = self._columns.workloads[row]
            self.refused[row] = not quotas.allows_person(workload.group, workload.owner, int(self._gpus[i]))

    def _look(self, quotas: Quotas) -> None:
        several = len(self._owners)
        counted = [
            (self._holders[holder] * several + self._owners[owner], *has)
            for (holder, owner), has in quotas.has.items()
            if holder in self._holders and owner in self._owners
        ]
        has = np.array(sorted(counted), dtype=np.int64).reshape(-1, 3)
        over = np.zeros(len(self._rows), np.bool_)
        for level in range(self._limits.shape[1]):
            holder, attempts, gpus = self._limits[:, level].T
            key = holder * several + self._owner
            at = np.minimum(np.searchsorted(has[:, 0], key), max(len(has) - 1, 0))
            found = (has[at, 0] == key) & (holder >= 0) if len(has) else np.zeros(len(key), np.bool_)
            used = np.where(found[:, None], has[at, 1:], 0) if len(has) else np.zeros((len(key), 2))
            more = (used[:, 0] + 1 > attempts) | ((used[:, 1] + self._gpus > gpus) & (self._gpus > 0))
            over |= more & (holder >= 0)
        self.refused[:] = False
        self.refused[self._rows[over]] = True
