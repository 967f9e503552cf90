"""Why a quota, or what one person may have, does not allow a workload: the numbers as a sentence."""

from __future__ import annotations

from footplate_spec.reasons import Reason, ReasonCode

from .quota import PersonShortage
from .resource_tree import Shortage
from .words import quantity

__all__ = ["person_reason", "quota_reason"]

_CODES = {
    "never": ReasonCode.EXCEEDS_MAX_QUOTA,
    "borrowing": ReasonCode.BORROWING_LIMIT_REACHED,
    "now": ReasonCode.WAITING_FOR_QUOTA,
}


def quota_reason(shortage: Shortage) -> Reason:
    """The reason for one quota that stands in the way."""
    _, flavor = shortage.place
    numbers = {
        "group": shortage.group,
        "flavor": flavor,
        "resource": shortage.resource,
        "asked": shortage.asked,
        "nominal": shortage.nominal,
        "used": shortage.used,
        "borrowed": shortage.borrowed,
        "limit": shortage.limit,
        "lent": shortage.lent,
    }
    asked = quantity(shortage.asked, shortage.resource)
    message = f"Needs {asked} on {flavor}; {_in_the_way(shortage)}."
    return Reason(code=_CODES[shortage.kind], message=message, numbers=numbers)


def _in_the_way(shortage: Shortage) -> str:
    group = f"group {shortage.group}"
    nominal, used, limit, borrowed = (
        quantity(amount, shortage.resource)
        for amount in (shortage.nominal, shortage.used, shortage.limit, shortage.borrowed)
    )
    if shortage.kind == "never":
        if shortage.limit > shortage.nominal:
            return f"with all that it may borrow, {group} can have {limit}"
        return f"the quota of {group} is {limit}"
    if shortage.kind == "borrowing" and shortage.limit > shortage.nominal:
        more = quantity(shortage.limit - shortage.nominal, shortage.resource)
        return f"{group} uses {used} of its quota of {nominal} and may borrow {more} more than that"
    says = f"{group} uses {used} of its quota of {nominal}"
    if shortage.borrowed:
        says = f"{group} uses {used}, {borrowed} more than its quota of {nominal}"
    if shortage.kind == "borrowing":
        return f"{says}, and may borrow nothing"
    if shortage.lent:
        says += f", and others borrow {quantity(shortage.lent, shortage.resource)}"
    return says


def person_reason(shortage: PersonShortage) -> Reason:
    """The reason for one limit of a person."""
    numbers = {
        "group": shortage.group,
        "owner": shortage.owner,
        "resource": shortage.resource,
        "asked": shortage.asked,
        "used": shortage.used,
        "limit": shortage.limit,
    }
    if shortage.resource == "running":
        jobs = "1 job" if shortage.limit == 1 else f"{shortage.limit} jobs"
        message = (
            f"{shortage.owner} has {shortage.used} running in group {shortage.group}, where one person may "
            f"have {jobs} at one time."
        )
    else:
        message = (
            f"Needs {quantity(shortage.asked, 'gpu')}; {shortage.owner} uses {shortage.used} in group "
            f"{shortage.group}, where one person may have {shortage.limit}."
        )
    return Reason(code=ReasonCode.LIMIT_REACHED, message=message, numbers=numbers)
