"""What groups used within the day, week, month and year that are on: what budgets are measured by.

What has ended is kept as two numbers a group and period; what runs is added by whoever asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import get_args

from footplate_spec.budget import Period

from ..queue.model import Spent
from ..queue.quota import lineage

__all__ = ["PERIODS", "Spending", "period_at"]

PERIODS: tuple[Period, ...] = get_args(Period)


def period_at(period: Period, now: float) -> tuple[float, float]:
    """When the period began that is on at ``now``, and when it renews: UTC, weeks from Monday."""
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        begin, end = day, day + timedelta(days=1)
    elif period == "week":
        begin = day - timedelta(days=day.weekday())
        end = begin + timedelta(days=7)
    elif period == "month":
        begin = day.replace(day=1)
        end = (begin + timedelta(days=32)).replace(day=1)
    else:
        begin = day.replace(month=1, day=1)
        end = begin.replace(year=begin.year + 1)
    return begin.timestamp(), end.timestamp()


class Spending:
    """What ended attempts used, of each group and all below it.

    Attributes
    ----------
    renewed
        A period began anew; whoever sees that says so by clearing it.
    """

    def __init__(self) -> None:
        self.renewed = False
        self._begins = dict.fromkeys(PERIODS, 0.0)
        self._sums: dict[Period, dict[str, Spent]] = {period: {} for period in PERIODS}

    def load(self, period: Period, now: float, totals: Mapping[str, tuple[float, float]]) -> None:
        """Begin with what is stored: GPU-seconds and cost of each group alone."""
        self._begins[period], self._sums[period] = period_at(period, now)[0], {}
        for group, used in totals.items():
            self._count(period, group, Spent(*used))

    def add(self, group: str, gpus: int, price: float, begin: float, end: float) -> None:
        """Count an attempt that has ended; ``price`` is that of an hour."""
        self.renew(end)
        for period, since in self._begins.items():
            seconds = max(end - max(begin, since), 0.0)
            if seconds and (gpus or price):
                self._count(period, group, Spent(gpus * seconds, price * seconds / 3600))

    def renew(self, now: float) -> None:
        """Begin the periods anew whose time has come."""
        due = [period for period in PERIODS if period_at(period, now)[0] > self._begins[period]]
        for period in due:
            self.load(period, now, {})
            self.renewed = True

    def of(self, group: str, period: Period, now: float) -> Spent:
        """What a group and all below it used in the period that is on."""
        self.renew(now)
        return self._sums[period].get(group, Spent())

    def _count(self, period: Period, group: str, used: Spent) -> None:
        sums = self._sums[period]
        for holder in lineage(group):
            had = sums.get(holder, Spent())
            sums[holder] = Spent(had.gpu_seconds + used.gpu_seconds, had.cost + used.cost)
