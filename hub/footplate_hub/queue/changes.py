"""What could be asked for instead, so that a workload starts earlier: one thing changed at a time.

A family is a row of changes of one kind, each of which asks for less than the one before; where the last of
them would not start, none would. Whether one starts is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from footplate_spec.units import format_seconds, quantity

from .model import Amount, RoleShape, Shape, Workload
from .nodes import Nodes
from .words import bare, list_words

__all__ = ["Change", "Family", "Freedom", "Kind", "elsewhere", "families", "fewer"]

Kind = Literal[
    "flavor", "group", "cluster", "split", "exclude", "labels", "topology", "region", "time_limit",
    "replicas", "resources",
]  # fmt: skip
_SPLITS = (2, 4, 8)
_GIB = 2**30
_SINGLY = 6  # exclusions that are tried one by one
_LIMITS = (86400, 43200, 28800, 21600, 14400, 10800, 7200, 3600, 1800, 900, 300)  # that people write


@dataclass(frozen=True)
class Change:
    """A workload as it could be instead, and how one says what is different."""

    kind: Kind
    says: str
    workload: Workload


@dataclass(frozen=True)
class Family:
    """Changes that are made when they are looked at: there may be thousands.

    Parameters
    ----------
    spare
        Worth a try only where nothing else of the kind helps.
    """

    kind: Kind
    length: int
    at: Callable[[int], Change]
    spare: bool = False


def _alone(kind: Kind, says: str, workload: Workload, *, spare: bool = False) -> Family:
    change = Change(kind, says, workload)
    return Family(kind, 1, lambda _: change, spare)


@dataclass(frozen=True)
class Freedom:
    """What may be changed at all.

    Parameters
    ----------
    groups
        Others of the asker's that may pay for it.
    split
        Whether more replicas with fewer GPUs each do the same work.
    fewer
        Whether fewer replicas, GPUs, cores or less memory do.
    """

    groups: tuple[str, ...] = ()
    split: bool = False
    fewer: bool = True


def families(workload: Workload, nodes: Nodes, freedom: Freedom, until: Sequence[float]) -> Iterator[Family]:
    """Everything that could be tried, what costs the asker least first.

    Parameters
    ----------
    until
        Seconds from now to the start of each reservation of somebody ahead: who ends before it may pass.
    """
    yield from _without_exclusions(workload)
    yield from _flavors(workload, nodes)
    yield from _clusters(workload, nodes)
    for group in freedom.groups:
        if group != workload.group:
            yield _alone(
                "group", f"group {group} instead of {workload.group}", replace(workload, group=group)
            )
    if freedom.split:
        yield from _splits(workload)
    yield from _times(workload, until)
    if freedom.fewer:
        yield from fewer(workload)


def elsewhere(workload: Workload, nodes: Nodes, freedom: Freedom) -> Iterator[Family]:
    """The same on another flavor, another cluster, or at the cost of another group."""
    yield from _flavors(workload, nodes)
    yield from _clusters(workload, nodes)
    for group in freedom.groups:
        if group != workload.group:
            says = f"group {group} instead of {workload.group}"
            yield _alone("group", says, replace(workload, group=group))


def _shaped(workload: Workload, **changes: object) -> Workload:
    return replace(workload, shape=replace(workload.shape, **changes))  # type: ignore[arg-type]


def _without_exclusions(workload: Workload) -> Iterator[Family]:
    shape = workload.shape
    for field, what in (("exclude_nodes", "node"), ("exclude_addresses", "address")):
        excluded: frozenset[str] = getattr(shape, field)
        names = sorted(excluded)
        for name in names[:_SINGLY]:
            says = f"{what} {name} not excluded"
            yield _alone("exclude", says, _shaped(workload, **{field: excluded - {name}}))
        if len(names) > 1:
            says = f"no {what} excluded"
            yield _alone("exclude", says, _shaped(workload, **{field: frozenset()}), spare=True)
    for label in shape.labels:
        says = f"without the label {label[0]}={label[1]}"
        left = tuple(other for other in shape.labels if other != label)
        yield _alone("labels", says, _shaped(workload, labels=left))
    if shape.topology != "any" and sum(role.replicas for role in shape.roles) > 1:
        near = "on one node" if shape.topology == "node" else "in one rack"
        yield _alone("topology", f"anywhere instead of {near}", _shaped(workload, topology="any"))
    if shape.region:
        says = f"any region instead of {shape.region}"
        yield _alone("region", says, _shaped(workload, region=""))


def _flavors(workload: Workload, nodes: Nodes) -> Iterator[Family]:
    """Every other flavor, for all roles that ask for the same."""
    shape = workload.shape
    offered = sorted({flavor for _, flavor in nodes.pools})
    for asked in dict.fromkeys(role.flavors for role in shape.roles if role.flavors):
        for flavor in offered:
            if flavor not in asked:
                says = f"flavor {flavor} instead of {list_words(asked, 'or')}"
                yield _alone("flavor", says, _each(shape, workload, asked, flavor))


def _each(shape: Shape, workload: Workload, asked: tuple[str, ...], flavor: str) -> Workload:
    roles = tuple(replace(role, flavors=(flavor,)) if role.flavors == asked else role for role in shape.roles)
    return _shaped(workload, roles=roles)


def _clusters(workload: Workload, nodes: Nodes) -> Iterator[Family]:
    asked = workload.shape.clusters
    for cluster in nodes.clusters if asked else ():
        if cluster not in asked:
            says = f"cluster {cluster} instead of {list_words(asked, 'or')}"
            yield _alone("cluster", says, _shaped(workload, clusters=(cluster,)))


def _splits(workload: Workload) -> Iterator[Family]:
    """More replicas of a role with fewer GPUs each, that have as many together."""
    for role in workload.shape.roles:
        parts = [n for n in _SPLITS if role.need.gpu >= n and role.need.gpu % n == 0]
        if parts:
            yield Family("split", len(parts), partial(_split, workload, role, parts))


def _split(workload: Workload, role: RoleShape, parts: Sequence[int], number: int) -> Change:
    count, need = role.replicas * parts[number], _part(role.need, 1 / parts[number])
    was = f"{role.need.gpu} on one node"
    if role.replicas > 1:
        was = f"{role.replicas} × {quantity(role.need.gpu, 'gpu')}"
    changed = replace(role, replicas=count, need=need, most=role.most and role.most * parts[number])
    says = f"{count} × {quantity(need.gpu, 'gpu')} instead of {was}"
    return Change("split", says, _with_role(workload, changed))


def _times(workload: Workload, until: Sequence[float]) -> Iterator[Family]:
    """Shorter time limits, so that it ends before nodes are needed for those ahead."""
    exact = {_rounded(seconds) for seconds in until if seconds >= 60}
    limits = sorted({limit for limit in (*exact, *_LIMITS) if limit < workload.time_limit}, reverse=True)
    if until and limits:

        def change(number: int) -> Change:
            new, old = format_seconds(limits[number]), format_seconds(workload.time_limit)
            changed = replace(workload, time_limit=limits[number])
            return Change("time_limit", f"a time limit of {new} instead of {old}", changed)

        yield Family("time_limit", len(limits), change)


def _rounded(seconds: float) -> int:
    step = 300 if seconds > 1800 else 60
    return int(seconds // step) * step


def fewer(workload: Workload) -> Iterator[Family]:
    """Fewer replicas, GPUs or cores, less memory."""
    for role in workload.shape.roles:
        whose = f" for {role.name}" if len(workload.shape.roles) > 1 else ""
        if role.replicas > 1:
            yield _replicas(workload, role, whose)
        yield from _less(workload, role, whose)


def _replicas(workload: Workload, role: RoleShape, whose: str) -> Family:
    def change(number: int) -> Change:
        count = role.replicas - 1 - number
        says = f"{count} replica{'' if count == 1 else 's'}{whose} instead of {role.replicas}"
        return Change("replicas", says, _with_role(workload, replace(role, replicas=count)))

    return Family("replicas", role.replicas - 1, change)


def _less(workload: Workload, role: RoleShape, whose: str) -> Iterator[Family]:
    """Fewer GPUs, with their part of the rest where that alone does not help; fewer cores, less memory."""
    need, each = role.need, " for each replica" if role.replicas > 1 else ""

    def family(most: int, made: Callable[[int], Amount], *, spare: bool = False) -> Iterator[Family]:
        def change(number: int) -> Change:
            new = made(most - 1 - number)
            says = f"{_instead(new, need)}{each}{whose}"
            return Change("resources", says, _with_role(workload, replace(role, need=new)))

        if most > 1:
            yield Family("resources", most - 1, change, spare)

    yield from family(need.gpu, lambda gpus: replace(need, gpu=gpus))
    yield from family(need.gpu, lambda gpus: _part(need, gpus / need.gpu), spare=True)
    yield from family(math.ceil(need.cpu / 1000), lambda cores: replace(need, cpu=cores * 1000))
    yield from family(math.ceil(need.memory / _GIB), lambda gibs: replace(need, memory=gibs * _GIB))


def _instead(new: Amount, old: Amount) -> str:
    """What is less, and how much it was."""
    changed = [name for name in ("gpu", "cpu", "memory") if getattr(new, name) != getattr(old, name)]
    less = list_words([quantity(getattr(new, name), name) for name in changed])
    if len(changed) == 1:
        return f"{less} instead of {bare(getattr(old, changed[0]), changed[0])}"
    return f"{less} instead of {list_words([quantity(getattr(old, name), name) for name in changed])}"


def _part(need: Amount, share: float) -> Amount:
    """A share of each resource; GPUs come out whole, the others are rounded up to what people write."""
    return Amount(
        min(need.cpu, math.ceil(need.cpu * share / 100) * 100),
        min(need.memory, math.ceil(need.memory * share / 2**20) * 2**20),
        round(need.gpu * share),
    )


def _with_role(workload: Workload, changed: RoleShape) -> Workload:
    roles = tuple(changed if role.name == changed.name else role for role in workload.shape.roles)
    return _shaped(workload, roles=roles)
