"""Budgets during one pass: what each group may still use before its period renews.

An attempt counts with all that it may use up to its time limit, from the moment it is admitted; when it ends
sooner, the rest is free again. So no period is ever overspent by what was admitted under its budget, and
nothing that runs need be stopped for it. Time counts while user code runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from .model import Amount, Budget, GroupModel, Place, Placement, Price, Running, Spent
from .quota import lineage

__all__ = ["HOUR", "BudgetShortage", "Budgets", "hourly", "over"]

HOUR = 3600.0
Measure = Literal["gpu_hours", "cost"]


def hourly(prices: Mapping[str, Price], amounts: Iterable[tuple[str, Amount]]) -> float:
    """What an hour of something costs: amounts by flavor."""
    total = 0.0
    for flavor, amount in amounts:
        price = prices.get(flavor)
        if price is not None:
            total += amount.gpu * price.gpu_hour + amount.cpu / 1000 * price.core_hour
    return total


def over(asked: float, left: float) -> bool:
    """Whether it is more than is left; what sums of floats are off by is not more."""
    return asked > 0 and asked > left + 1e-6 * max(1.0, abs(left))


@dataclass(frozen=True, slots=True)
class BudgetShortage:
    """One budget that does not allow a workload, in GPU-hours or money.

    Parameters
    ----------
    asked
        Up to the time limit.
    used, reserved
        Until now, and what those that run may still use.
    ends
        Whether there will be enough once the period renews.
    """

    group: str
    of: Measure
    asked: float
    used: float
    reserved: float
    limit: float
    renews: float
    renews_in: float
    period: str
    currency: str
    ends: bool


class _State:
    """One group's budget: what is used, what those admitted may use, and what of it falls into the next."""

    __slots__ = ("budget", "later", "taken", "used")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.used = [budget.ended.gpu_seconds, budget.ended.cost]
        self.taken = list(self.used)
        self.later = [0.0, 0.0]

    def copy(self) -> _State:
        other = _State.__new__(_State)
        other.budget = self.budget
        other.used, other.taken, other.later = self.used, list(self.taken), list(self.later)
        return other

    def add(self, begin: float, end: float, now: float, rates: tuple[float, float]) -> None:
        """Count what may use so much a second from ``begin`` to ``end``."""
        budget = self.budget
        for measure, rate in enumerate(rates):
            self.used[measure] += rate * max(min(now, end) - max(begin, budget.begins), 0.0)
            self.taken[measure] += rate * max(end - max(begin, budget.begins), 0.0)
            self.later[measure] += rate * max(end - max(begin, budget.renews), 0.0)

    @property
    def limits(self) -> tuple[float | None, float | None]:
        return (self.budget.gpu_seconds, self.budget.cost)


class Budgets:
    """What counts against every budget; it grows as a pass admits.

    Parameters
    ----------
    groups
        By name; those that are not named have no budget of their own.
    prices
        By flavor.
    running
        What counts from the start.
    now
        Unix seconds.
    """

    def __init__(
        self,
        groups: Mapping[str, GroupModel],
        prices: Mapping[str, Price],
        running: Iterable[Running] = (),
        now: float = 0.0,
    ) -> None:
        self.prices, self._now = prices, now
        self._states = {name: _State(group.budget) for name, group in groups.items() if group.budget}
        self.changes = 0
        for attempt in running if self._states else ():
            states = self._of(attempt.group)
            rates = (float(attempt.gpus), attempt.cost / HOUR)
            for state in states if any(rates) else ():
                state.add(*_course(attempt, state.budget, now), now, rates)

    def __bool__(self) -> bool:
        return bool(self._states)

    def copy(self) -> Budgets:
        """The same budgets with use of their own from here on."""
        other = Budgets({}, self.prices, now=self._now)
        other._states = {name: state.copy() for name, state in self._states.items()}
        return other

    def take(self, group: str, placements: Iterable[Placement], time_limit: int) -> None:
        """Count what is admitted, or kept for somebody."""
        if not self._states:
            return
        amounts = [(placement.flavor, placement.need) for placement in placements]
        rates = self._rates(amounts)
        for state in self._of(group):
            end = self._now + time_limit if time_limit else state.budget.renews
            state.add(self._now, end, self._now, rates)
        self.changes += 1

    def allows(self, group: str, asked: Mapping[Place, Amount], time_limit: int) -> bool:
        """Whether `shortages` is empty."""
        return not self._states or next(self._short(group, asked, time_limit), None) is None

    def shortages(self, group: str, asked: Mapping[Place, Amount], time_limit: int) -> list[BudgetShortage]:
        """Every budget that a workload would pass, that nearest to its group first."""
        return list(self._short(group, asked, time_limit)) if self._states else []

    def _short(self, group: str, asked: Mapping[Place, Amount], time_limit: int) -> Iterator[BudgetShortage]:
        rates = self._rates((flavor, amount) for (_, flavor), amount in asked.items())
        for name in lineage(group):
            state = self._states.get(name)
            if state is None:
                continue
            budget = state.budget
            seconds = time_limit or max(budget.renews - self._now, 0.0)
            for measure, limit in enumerate(state.limits):
                wants = rates[measure] * seconds
                if limit is not None and over(wants, limit - state.taken[measure]):
                    unit = 1.0 if measure else HOUR
                    yield BudgetShortage(
                        name,
                        "cost" if measure else "gpu_hours",
                        wants / unit,
                        state.used[measure] / unit,
                        (state.taken[measure] - state.used[measure]) / unit,
                        limit / unit,
                        budget.renews,
                        budget.renews - self._now,
                        budget.period,
                        budget.currency,
                        ends=not over(wants, limit - state.later[measure]),
                    )

    def affordable(self, group: str, asked: Mapping[Place, Amount]) -> float:
        """Seconds that a workload may run at the most; infinite where nothing limits it."""
        rates = self._rates((flavor, amount) for (_, flavor), amount in asked.items())
        return min(
            (
                max(limit - state.taken[measure], 0.0) / rates[measure]
                for state in self._of(group)
                for measure, limit in enumerate(state.limits)
                if limit is not None and rates[measure]
            ),
            default=math.inf,
        )

    def left(self, group: str) -> list[tuple[float, float, float]]:
        """GPU-seconds and money that are left, and seconds until it renews: of a group and those above it."""
        found = []
        for state in self._of(group):
            gpu_seconds, cost = (
                math.inf if limit is None else limit - taken
                for limit, taken in zip(state.limits, state.taken, strict=True)
            )
            found.append((gpu_seconds, cost, max(state.budget.renews - self._now, 0.0)))
        return found

    def of(self, group: str) -> tuple[Budget, Spent, Spent] | None:
        """A group's own budget, what is used of it, and what is reserved."""
        state = self._states.get(group)
        if state is None:
            return None
        reserved = [taken - used for taken, used in zip(state.taken, state.used, strict=True)]
        return state.budget, Spent(*state.used), Spent(*reserved)

    def _of(self, group: str) -> list[_State]:
        return [self._states[name] for name in lineage(group) if name in self._states]

    def _rates(self, amounts: Iterable[tuple[str, Amount]]) -> tuple[float, float]:
        """GPUs, and money a second."""
        amounts = list(amounts)
        return float(sum(amount.gpu for _, amount in amounts)), hourly(self.prices, amounts) / HOUR


def _course(attempt: Running, budget: Budget, now: float) -> tuple[float, float]:
    """When user code began, or may begin, and when it has ended at the latest."""
    if not attempt.time_limit:
        return attempt.started, max(budget.renews, now)
    if attempt.ends is None:
        return now, now + attempt.time_limit
    return attempt.ends - attempt.time_limit, max(attempt.ends, now)
