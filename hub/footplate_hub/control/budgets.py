"""Groups' budgets: as the queue sees them, and as people do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from footplate_spec import BudgetAmount, BudgetShare, BudgetUse, budget

from ..queue.budget_reasons import budget_reason
from ..queue.budgets import HOUR, Budgets
from ..queue.model import Amount, Budget, GroupModel, Place, Running
from ..queue.quota import lineage
from .spending import Spending, period_at

__all__ = ["budget_shares", "budget_use", "overspent", "with_budgets"]


def with_budgets(
    groups: Mapping[str, GroupModel],
    budgets: Mapping[str, budget.Budget],
    spending: Spending,
    *,
    currency: str,
    now: float,
) -> Mapping[str, GroupModel]:
    """Groups with their budgets in the period that is on, and what has ended in it."""
    found = dict(groups) if budgets else groups
    for name, own in budgets.items():
        begins, renews = period_at(own.period, now)
        model = Budget(
            None if own.gpu_hours is None else own.gpu_hours * HOUR,
            own.cost,
            begins,
            renews,
            spending.of(name, own.period, now),
            own.period,
            currency,
        )
        found = {**found, name: replace(groups.get(name, GroupModel(name)), budget=model)}
    return found


def budget_use(budgets: Budgets, groups: Iterable[str]) -> list[BudgetUse]:
    """Budgets of these groups, and what is used of them."""
    return [_use(name, budgets) for name in groups if budgets.of(name) is not None]


def _use(group: str, budgets: Budgets) -> BudgetUse:
    found = budgets.of(group)
    assert found is not None
    model, used, reserved = found
    hours, cost = model.gpu_seconds, model.cost
    return BudgetUse.model_validate(
        {
            "group": group,
            "period": model.period,
            "begins": datetime.fromtimestamp(model.begins, UTC),
            "renews": datetime.fromtimestamp(model.renews, UTC),
            "gpu_hours": None
            if hours is None
            else _amount(hours / HOUR, used.gpu_seconds / HOUR, reserved.gpu_seconds / HOUR),
            "cost": None if cost is None else _amount(cost, used.cost, reserved.cost),
            "currency": None if cost is None else model.currency,
        }
    )


def _amount(limit: float, used: float, reserved: float) -> BudgetAmount:
    return BudgetAmount(limit=round(limit, 3), used=round(used, 3), reserved=round(reserved, 3))


def budget_shares(budgets: Budgets, group: str, *, gpu_hours: float, cost: float | None) -> list[BudgetShare]:
    """What a job would take of the budget of its group and of those above it."""
    return [share for use in budget_use(budgets, lineage(group)) for share in _shares(use, gpu_hours, cost)]


def _shares(use: BudgetUse, gpu_hours: float, cost: float | None) -> Iterator[BudgetShare]:
    for of, amount, asked in (("gpu_hours", use.gpu_hours, gpu_hours), ("cost", use.cost, cost or 0.0)):
        if amount is not None and asked:
            yield BudgetShare.model_validate(
                {
                    "group": use.group,
                    "of": of,
                    "asked": round(asked, 3),
                    "limit": amount.limit,
                    "left": round(max(amount.limit - amount.used - amount.reserved, 0.0), 3),
                    "share": round(asked / amount.limit, 4) if amount.limit else 1.0,
                    "renews": use.renews,
                }
            )


def overspent(budgets: Budgets, running: Running, seconds: int) -> str | None:
    """Why an attempt may not run longer by so many seconds, if a budget is short of that."""
    asked: dict[Place, Amount] = {}
    for placement in running.placements:
        place = (placement.cluster, placement.flavor)
        asked[place] = asked.get(place, Amount()) + placement.need
    short = budgets.shortages(running.group, asked, seconds) if seconds > 0 else []
    return budget_reason(short[0]).message if short else None
