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
        limits = [quotas.person_limits(group) for group in columns.groups]
        limited = np.array([bool(found) for found in limits], dtype=np.bool_)
        rows, owners, most = [], [], []
        numbers: dict[tuple[str, str], int] = {}
        if limited.any():
            for row in np.flatnonzero(limited[columns.group]).tolist():
                owner = columns.workloads[row].owner
                for holder, limit in limits[columns.group[row]]:
                    rows.append(row)
                    owners.append(numbers.setdefault((holder, owner), len(numbers)))
                    most.append([_NO_LIMIT if m is None else m for m in (limit.running, limit.gpus)])
        self._rows: Ids = np.array(rows, dtype=np.int64)
        self._owners: Ids = np.array(owners, dtype=np.int64)
        self._most: Ids = np.array(most, dtype=np.int64).reshape(-1, 2)
        self._names = list(numbers)
        gpus = np.array([prospect.gpus for prospect in forms.prospects], dtype=np.int64)
        self._gpus: Ids = gpus[columns.slot_shape[columns.slot[self._rows]]] if rows else self._rows
        self.look_again(quotas)

    def look_again(self, quotas: Quotas) -> None:
        """Take in what counts now."""
        if not len(self._rows):
            return
        has = quotas.has(self._names)[self._owners]
        over = (has[:, 0] + 1 > self._most[:, 0]) | (
            (has[:, 1] + self._gpus > self._most[:, 1]) & (self._gpus > 0)
        )
        self.refused[:] = False
        self.refused[self._rows[over]] = True
