"""What must hold between groups, which no group can check alone: their quotas make one tree.

A cycle cannot be written, since a group's parent is its path. What can be is refused with the place.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from footplate_spec import Group, QueuePolicy, Quota
from footplate_spec.units import quantity

from .queue.orders import orders

__all__ = ["WrongPlaceError", "check_groups", "check_policy"]

Place = tuple[str, str]  # cluster, flavor


class WrongPlaceError(ValueError):
    """Something that two parts of the configuration do not agree about.

    Parameters
    ----------
    place
        The keys and numbers that lead to it, as pydantic counts them.
    """

    def __init__(self, message: str, place: tuple[str | int, ...]) -> None:
        super().__init__(message)
        self.place = place


def check_groups(
    groups: Sequence[Group], flavors: Mapping[str, Collection[str] | None], *, priced: bool
) -> None:
    """Refuse quotas that cannot be kept.

    Parameters
    ----------
    flavors
        The flavors of each cluster; None where they are known only once its machines are found.
    priced
        Whether anything has a price.

    Raises
    ------
    WrongPlaceError
        With one sentence; the place begins at the list of groups.
    """
    seen: set[str] = set()
    nominal: dict[tuple[Place, str], dict[str, int]] = {}
    for number, group in enumerate(groups):
        if group.name in seen:
            raise WrongPlaceError(f"group {group.name!r} occurs twice", (number, "name"))
        seen.add(group.name)
        try:
            check_policy(group.policy, f"group {group.name!r}")
        except ValueError as error:
            raise WrongPlaceError(str(error), (number, "policy", "order")) from None
        if group.budget is not None and group.budget.cost is not None and not priced:
            raise WrongPlaceError(
                f"group {group.name!r} has a budget of money, but nothing has a price; set prices, or write "
                "gpu_hours",
                (number, "budget", "cost"),
            )
        _check_quotas(group, number, flavors)
        for quota in group.quotas:
            for resource in ("cpu", "memory", "gpu"):
                if (amount := getattr(quota, resource)) is not None:
                    place = (quota.cluster, quota.flavor)
                    nominal.setdefault((place, resource), {})[group.name] = amount
    for (place, resource), amounts in nominal.items():
        _check_sums(groups, place, resource, amounts)


def check_policy(policy: QueuePolicy | None, whose: str) -> None:
    """Refuse an order that there is not.

    Raises
    ------
    ValueError
        With one sentence.
    """
    if policy is not None and policy.order not in orders():
        known = ", ".join(sorted(orders()))
        raise ValueError(f"{whose} has the order {policy.order!r}, which does not exist; there is {known}")


def _check_quotas(group: Group, number: int, flavors: Mapping[str, Collection[str] | None]) -> None:
    seen: set[Place] = set()
    for at, quota in enumerate(group.quotas):
        where: tuple[str | int, ...] = (number, "quotas", at)
        if quota.cluster not in flavors:
            raise WrongPlaceError(
                f"group {group.name!r} has a quota on cluster {quota.cluster!r}, which does not exist; "
                f"there is {', '.join(sorted(flavors))}",
                (*where, "cluster"),
            )
        known = flavors[quota.cluster]
        if known is not None and quota.flavor not in known:
            raise WrongPlaceError(
                f"group {group.name!r} has a quota of flavor {quota.flavor!r}, which no node of cluster "
                f"{quota.cluster!r} has; there is {', '.join(sorted(known)) or 'none'}",
                (*where, "flavor"),
            )
        if (quota.cluster, quota.flavor) in seen:
            raise WrongPlaceError(
                f"group {group.name!r} has two quotas of flavor {quota.flavor!r} on cluster "
                f"{quota.cluster!r}; write one",
                where,
            )
        seen.add((quota.cluster, quota.flavor))


def _check_sums(groups: Sequence[Group], place: Place, resource: str, amounts: Mapping[str, int]) -> None:
    below: dict[str, int] = {}
    for name in sorted(amounts):
        above = [other for other in amounts if name.startswith(f"{other}/")]
        if above:
            parent = max(above, key=len)
            below[parent] = below.get(parent, 0) + amounts[name]
    for parent, total in below.items():
        if total > amounts[parent]:
            raise WrongPlaceError(
                f"the groups below {parent!r} have {quantity(total, resource)} of flavor {place[1]!r} "
                f"together, more than its {quantity(amounts[parent], resource)}",
                _where(groups, parent, place),
            )


def _where(groups: Sequence[Group], name: str, place: Place) -> tuple[str | int, ...]:
    for number, group in enumerate(groups):
        for at, quota in enumerate(group.quotas):
            if group.name == name and _place(quota) == place:
                return (number, "quotas", at)
    raise AssertionError(f"{name} has no quota at {place}")


def _place(quota: Quota) -> Place:
    return (quota.cluster, quota.flavor)
