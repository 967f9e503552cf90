"""Budgets: what a group may use over time, and what it has used of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from .base import Answer, Submitted

__all__ = ["Budget", "BudgetAmount", "BudgetShare", "BudgetUse", "Period"]

Spent = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Period = Literal["day", "week", "month", "year"]


class Budget(Submitted):
    """What a group, with all groups below it, may use within each period.

    Parameters
    ----------
    gpu_hours
        GPUs times the hours that user code ran on them.
    cost
        Money, at the platform's prices.
    period
        When it renews: at midnight UTC, on Mondays, on the first of a month, on the first of January.
    """

    what: ClassVar[str] = "a budget"
    gpu_hours: Spent | None = None
    cost: Spent | None = None
    period: Period = "month"

    @model_validator(mode="after")
    def _is_of_something(self) -> Self:
        if self.gpu_hours is None and self.cost is None:
            raise ValueError("needs gpu_hours or cost; leave the whole budget out for no limit")
        return self


class BudgetAmount(Answer):
    """One side of a budget, in GPU-hours or money.

    Parameters
    ----------
    used
        By what has run in the period, and by what runs, up to now.
    reserved
        What those that run may still use, up to their time limits.
    """

    limit: float
    used: float = 0.0
    reserved: float = 0.0


class BudgetUse(Answer):
    """A group's budget in the period that is on."""

    group: str
    period: Period
    begins: datetime
    renews: datetime
    gpu_hours: BudgetAmount | None = None
    cost: BudgetAmount | None = None
    currency: str | None = None


class BudgetShare(Answer):
    """What a job would take of a budget, if it ran to its time limit.

    Parameters
    ----------
    of
        ``gpu_hours`` or ``cost``: what the numbers are.
    left
        What is neither used nor reserved now.
    share
        Of the whole budget: 0.25 is a quarter.
    """

    group: str
    of: Literal["gpu_hours", "cost"]
    asked: float
    limit: float
    left: float
    share: float
    renews: datetime
