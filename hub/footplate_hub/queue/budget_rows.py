"""What budgets leave to every row: who can afford no way to run, and who cannot afford some."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .budgets import HOUR, Budgets, hourly
from .columns import Columns
from .forms import Forms
from .nodes import Ids, Mask

__all__ = ["BudgetRows"]


class BudgetRows:
    """Rows, and whether a budget stands in their way.

    Attributes
    ----------
    refused
        Rows that can afford no way at all.
    some
        Rows that can afford some ways and not others.
    """

    def __init__(self, columns: Columns, forms: Forms, budgets: Budgets) -> None:
        self.refused: Mask = np.zeros(len(columns), np.bool_)
        self.some: Mask = np.zeros(len(columns), np.bool_)
        self._budgets = budgets
        self._seen = budgets.changes
        self._rows: Ids = np.zeros(0, dtype=np.int64)
        if not budgets:
            return
        self._names = columns.groups
        limited = np.array([bool(budgets.left(group)) for group in columns.groups], dtype=np.bool_)
        shapes = columns.slot_shape[columns.slot]
        ways = forms.first[shapes + 1] - forms.first[shapes]
        self._rows = np.flatnonzero(limited[columns.group] & (ways > 0))
        self._group, self._limit = columns.group[self._rows], columns.limit[self._rows]
        shapes = shapes[self._rows]
        self._gpus = forms.gpus[shapes].astype(np.float64)
        least, most = np.zeros(len(forms.prospects)), np.zeros(len(forms.prospects))
        for shape in np.unique(shapes).tolist() if budgets.prices else ():
            costs = [
                hourly(budgets.prices, [(flavor, amount) for (_, flavor), amount in way.demand.items()])
                for way in forms.prospects[shape].ways
            ]
            least[shape], most[shape] = min(costs) / HOUR, max(costs) / HOUR
        self._least, self._most = least[shapes], most[shapes]
        self._look()

    def look_again(self) -> None:
        """Take in what was admitted since."""
        if self._seen != self._budgets.changes:
            self._seen = self._budgets.changes
            self._look()

    def _look(self) -> None:
        if not len(self._rows):
            return
        found = [self._budgets.left(group) for group in self._names]
        depth = max(map(len, found))
        table = np.full((len(found), depth, 3), np.inf)
        table[:, :, 2] = 0.0
        for group, levels in enumerate(found):
            table[group, : len(levels)] = np.array(levels).reshape(-1, 3)
        none, some = np.zeros(len(self._rows), np.bool_), np.zeros(len(self._rows), np.bool_)
        for level in range(depth):
            gpu_seconds, money, renews = table[self._group, level].T
            seconds = np.where(np.isinf(self._limit), renews, self._limit)
            none |= _over(self._gpus * seconds, gpu_seconds) | _over(self._least * seconds, money)
            some |= _over(self._most * seconds, money)
        self.refused[self._rows] = none
        self.some[self._rows] = some & ~none


def _over(asked: NDArray[np.float64], left: NDArray[np.float64]) -> Mask:
    """`budgets.over`, for all rows at once."""
    return np.asarray((asked > 0) & (asked > left + 1e-6 * np.maximum(1.0, np.abs(left))))
