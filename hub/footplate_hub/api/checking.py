"""What would become of a job: would it run, when, at what cost, and what would help. Nothing is stored."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from fastapi import APIRouter

from footplate_spec import BudgetShare, JobSpec, Verdict
from footplate_spec.units import format_about

from ..control.advice import Prospective
from ..identity import Person
from ..queue import advise
from ..rooms import Rooms
from ..settings import PricesSettings
from .callers import In, Submitter
from .checks import check, time_limit_of
from .etas import likely
from .fixes import freedom_of, offered

__all__ = ["router"]

router = APIRouter(tags=["jobs"])


@router.post("/check")
async def check_spec(spec: JobSpec, rooms: In, person: Submitter) -> Verdict:
    """What would become of a job, were it submitted now; of an array: of its first run, at the cost of all.

    What it comes after is taken to have ended.
    """
    return await judge(rooms, person, check(rooms, person, spec))


async def judge(rooms: Rooms, person: Person, spec: JobSpec) -> Verdict:
    """The answer for a spec whose group is filled in."""
    now = time.time()
    group = spec.group or ""
    job = Prospective(spec, person.name, group, time_limit_of(rooms, group, spec))
    workload, verdict, fixes = await rooms.control.advice.check(job, freedom_of(spec, person))
    probably = await rooms.control.foresight.prospect(workload) if verdict.starts == "at" else None
    runs = spec.array.size if spec.array is not None else 1
    hours = runs * job.time_limit / 3600
    gpus = workload.shape.total.gpu
    currency = rooms.settings.prices.currency
    cost = _cost(rooms.settings.prices, spec, verdict.flavors, hours)
    shares = rooms.control.budget_shares(group, gpu_hours=gpus * hours, cost=cost)
    takes = _uses(gpus * hours, cost, currency) + _shares(shares)
    return Verdict(
        starts=verdict.starts,
        code=verdict.reason.code if verdict.reason is not None else None,
        message=_sentence(verdict, now) + likely(probably) + takes,
        eta=None if verdict.at is None else datetime.fromtimestamp(verdict.at, UTC),
        gpu_hours=round(gpus * hours, 3),
        cost=cost,
        likely=probably,
        budgets=shares,
        currency=currency if cost is not None else None,
        reason=verdict.reason,
        fixes=offered(rooms, person, spec, workload, fixes),
    )


def _cost(prices: PricesSettings, spec: JobSpec, flavors: tuple[str, ...], hours: float) -> float | None:
    """The most that it costs; None where one of its flavors has no price."""
    total = 0.0
    for role, flavor in zip(spec.roles, flavors, strict=True):
        price = prices.flavors.get(flavor)
        if price is None:
            return None
        one = role.resources.gpu * price.gpu_hour + role.resources.cpu / 1000 * price.core_hour
        total += role.most * one * hours
    return round(total, 2)


def _sentence(verdict: advise.Verdict, now: float) -> str:
    if verdict.starts == "now":
        flavors = " and ".join(dict.fromkeys(verdict.flavors))
        says = f"It would start now, on {flavors}."
    else:
        message = verdict.reason.message if verdict.reason is not None else ""
        says = {"at": "It would wait. ", "never": "It would never start. "}[verdict.starts] + message
        if verdict.at is not None:
            says += f" It would start within {format_about(verdict.at - now)}."
    return says


def _uses(gpu_hours: float, cost: float | None, currency: str) -> str:
    uses = [f"{gpu_hours:g} GPU-hours"] if gpu_hours else []
    if cost is not None:
        uses.append(f"{cost:.2f} {currency}")
    return f" At most {' and '.join(uses)}." if uses else ""


def _shares(shares: Sequence[BudgetShare]) -> str:
    """The budget of which it would take the largest part."""
    if not shares:
        return ""
    largest = max(shares, key=lambda share: share.share)
    left = largest.left / largest.limit if largest.limit else 0.0
    budget = f"the budget of group {largest.group}"
    return f" That is {largest.share:.0%} of {budget}, of which {left:.0%} is left."
