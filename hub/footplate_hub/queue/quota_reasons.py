"""Why a quota, or what one person may have, does not allow a workload: the numbers as a sentence."""

from __future__ import annotations

from footplate_spec.reasons import Reason, ReasonCode

from .quota import PersonShortage
from .resource_tree import Shortage
from .words import bare, quantity

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
        "left": shortage.left,
    }
    asked = quantity(shortage.asked, shortage.resource)
    message = f"Needs {asked} on {flavor}; {_in_the_way(shortage)}."
    return Reason(code=_CODES[shortage.kind], message=message, numbers=numbers)


def _in_the_way(shortage: Shortage) -> str:
    group, resource = f"group {shortage.group}", shortage.resource
    nominal, limit = quantity(shortage.nominal, resource), quantity(shortage.limit, resource)
    more = shortage.limit - shortage.nominal
    if shortage.kind == "never":
        if more > 0:
            return f"with all that it may borrow, {group} can have {limit}"
        return f"the quota of {group} is {limit}"
    says = f"{group} uses {bare(shortage.used, resource)} of its {nominal}"
    if shortage.borrowed:
        used, borrowed = quantity(shortage.used, resource), bare(shortage.borrowed, resource)
        says = f"{group} uses {used}, {borrowed} more than its quota of {bare(shortage.nominal, resource)}"
    if shortage.kind == "borrowing":
        return f"{says}, and may borrow {f'{bare(more, resource)} at most' if more > 0 else 'nothing'}"
    if shortage.lent:
        return f"{says}, and others borrow {bare(shortage.lent, resource)}"
    if shortage.used >= shortage.nominal and more > 0:
        return (
            f"{says}, and others leave {bare(shortage.left, resource) if shortage.left else 'none'} to borrow"
        )
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
