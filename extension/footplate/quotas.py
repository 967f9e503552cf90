"""Changes to a group's quotas, budget and policy, from words to the contract. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from footplate_spec import Budget, Group, Priorities, QueuePolicy, explain_validation

from .errors import WrongCallError

__all__ = ["with_budget", "with_policy", "with_priorities", "with_quota"]

_RESOURCES = ("gpu", "cpu", "memory")


def with_quota(
    group: Group,
    flavor: str,
    *,
    cluster: str,
    borrow: Iterable[str] = (),
    lend: Iterable[str] = (),
    **own: str | None,
) -> Group:
    """The group with another quota of one flavor on one cluster; what is not named stays.

    Parameters
    ----------
    own
        ``gpu``, ``cpu``, ``memory``; ``none`` is no limit.
    borrow, lend
        ``gpu=4``, ``memory=none``.

    Raises
    ------
    WrongCallError
        With one sentence for the first thing that is wrong.
    """
    values = group.model_dump(mode="json", exclude_defaults=True)
    quotas: list[dict[str, Any]] = values.get("quotas", [])
    place = {"cluster": cluster, "flavor": flavor}
    kept = [quota for quota in quotas if not _is(quota, place)]
    quota: dict[str, Any] = next((quota for quota in quotas if _is(quota, place)), {**place})
    named = [(quota, name, value) for name, value in own.items() if value is not None]
    for field, texts in (("borrowing_limit", borrow), ("lending_limit", lend)):
        amounts = quota.setdefault(field, {})
        named += [(amounts, *_named(text, field)) for text in texts]
    if not named:
        raise WrongCallError("there is nothing to change; name --gpu, --cpu, --memory, --borrow or --lend")
    for target, name, value in named:
        if value == "none":
            target.pop(name, None)
        else:
            target[name] = _amount(name, value)
    try:
        return Group.model_validate({**values, "name": group.name, "quotas": [*kept, quota]})
    except ValidationError as error:
        raise WrongCallError(explain_validation(error)) from None


def with_budget(group: Group, **given: str | None) -> Group:
    """The group with another budget; what is not named stays.

    Parameters
    ----------
    given
        ``gpu_hours`` and ``cost``, a number or ``none``; ``period``. With neither limit left it has none.

    Raises
    ------
    WrongCallError
        With one sentence for the first thing that is wrong.
    """
    named = {name: value for name, value in given.items() if value is not None}
    if not named:
        raise WrongCallError("there is nothing to change; name --gpu-hours, --cost or --period")
    before = group.budget.model_dump(exclude_none=True) if group.budget is not None else {}
    values = {name: None if value == "none" else value for name, value in {**before, **named}.items()}
    try:
        if values.get("gpu_hours") is None and values.get("cost") is None and "none" in named.values():
            return group.model_copy(update={"budget": None})
        return group.model_copy(update={"budget": Budget.model_validate(values)})
    except ValidationError as error:
        raise WrongCallError(explain_validation(error)) from None


def with_priorities(before: Priorities, words: Iterable[str]) -> Priorities:
    """The priorities with others: ``urgent=200``, ``low=none``; what is not named stays.

    Raises
    ------
    WrongCallError
        With one sentence for the first thing that is wrong.
    """
    found: dict[str, Any] = dict(before.priorities)
    for word in words:
        name, given, value = word.partition("=")
        if not given or not name:
            raise WrongCallError(f"{word!r}: write a name and a number, as in urgent=200, or none")
        if value == "none":
            found.pop(name, None)
            continue
        try:
            found[name] = int(value)
        except ValueError:
            raise WrongCallError(f"{name} must be a whole number or none, not {value!r}") from None
    try:
        return Priorities(priorities=found)
    except ValidationError as error:
        raise WrongCallError(explain_validation(error)) from None


def with_policy(before: QueuePolicy | None, order: str | None, backfill: bool | None) -> QueuePolicy:
    """A group's or a cluster's policy with changes; what is not named stays.

    Raises
    ------
    WrongCallError
        If nothing is named.
    """
    named = {"order": order, "backfill": backfill}
    changes = {name: value for name, value in named.items() if value is not None}
    if not changes:
        raise WrongCallError("there is nothing to change; name --order or --backfill")
    return (before or QueuePolicy()).model_copy(update=changes)


def _is(quota: dict[str, Any], place: dict[str, str]) -> bool:
    return {"cluster": quota.get("cluster", "local"), "flavor": quota["flavor"]} == place


def _named(text: str, field: str) -> tuple[str, str]:
    name, given, value = text.partition("=")
    if not given or name not in _RESOURCES:
        raise WrongCallError(
            f"{text!r}: write gpu=4, cpu=16 or memory=64Gi for its {field.replace('_', ' ')}"
        )
    return name, value


def _amount(name: str, value: str) -> int | str:
    if name != "gpu":
        return value
    try:
        return int(value)
    except ValueError:
        raise WrongCallError(f"gpu must be a whole number or none, not {value!r}") from None
