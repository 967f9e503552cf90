"""Why a budget does not allow a workload: the numbers as a sentence."""

from __future__ import annotations

from footplate_spec.reasons import Reason, ReasonCode
from footplate_spec.units import format_seconds

from .budgets import BudgetShortage

__all__ = ["budget_reason", "kept_budget"]


def budget_reason(shortage: BudgetShortage) -> Reason:
    """The reason for one budget that stands in the way."""
    left = max(shortage.limit - shortage.used - shortage.reserved, 0.0)
    asked, used, reserved, limit, rest = (
        _amount(number, shortage)
        for number in (shortage.asked, shortage.used, shortage.reserved, shortage.limit, left)
    )
    group, period = shortage.group, shortage.period
    needs = f"Needs up to {asked} by its time limit"
    if shortage.asked > shortage.limit:
        message = f"{needs}, more than the whole budget of group {group}: {limit} a {period}."
    else:
        renews = format_seconds(max(shortage.renews_in, 1))
        spent = f"{used} are used" + (f" and {reserved} reserved by what runs" if shortage.reserved else "")
        message = (
            f"{needs}; of the budget of group {group}, {limit} a {period}, {spent}: {rest} are left until it "
            f"renews in {renews}."
        )
    return Reason(code=ReasonCode.LIMIT_REACHED, message=message, numbers=_numbers(shortage))


def kept_budget(shortage: BudgetShortage) -> Reason:
    """What is left is kept for somebody ahead."""
    message = (
        f"Needs up to {_amount(shortage.asked, shortage)} by its time limit, and what is left of the budget "
        f"of group {shortage.group} is kept for a job ahead in line."
    )
    return Reason(code=ReasonCode.RESERVED_FOR_AHEAD, message=message, numbers=_numbers(shortage))


def _numbers(shortage: BudgetShortage) -> dict[str, str | float]:
    return {
        "group": shortage.group,
        "budget": shortage.of,
        "asked": round(shortage.asked, 3),
        "used": round(shortage.used, 3),
        "reserved": round(shortage.reserved, 3),
        "limit": shortage.limit,
        "left": round(max(shortage.limit - shortage.used - shortage.reserved, 0.0), 3),
        "period": shortage.period,
        "renews": shortage.renews,
    }


def _amount(number: float, shortage: BudgetShortage) -> str:
    if shortage.of == "cost":
        return f"{number:.2f} {shortage.currency}".rstrip()
    return f"{round(number, 2):g} GPU-hour{'' if round(number, 2) == 1 else 's'}"
