"""Why a workload would not start even if nothing else ran: the numbers and names as a sentence."""

from __future__ import annotations

import numpy as np

from footplate_spec.reasons import Reason, ReasonCode

from .fit import feasible, room_for
from .model import Amount, RoleShape, Shape
from .nodes import Mask, Nodes, tolerates, vector
from .prospects import Prospect
from .ways import Option
from .words import RESOURCES, amount_words, list_words, need_words

__all__ = ["never", "never_code", "no_way", "numbers_of", "on_flavors", "where"]

_NAMED = 3  # nodes that a sentence names
_COLUMNS = ("cpu", "memory", "gpu")


def never_code(nodes: Nodes, prospect: Prospect, option: Option) -> ReasonCode:
    """What stands in its way on empty nodes: their size, its own wishes, or the loss of some."""
    everywhere = np.ones(len(nodes), np.bool_)
    if not feasible(nodes, nodes.capacity, everywhere, prospect.shape, option):
        return ReasonCode.NO_MATCHING_FLAVOR
    if not feasible(nodes, nodes.capacity, prospect.allowed, prospect.shape, option):
        return ReasonCode.NODES_EXCLUDED
    return ReasonCode.NODE_LOST


def never(nodes: Nodes, prospect: Prospect, option: Option) -> Reason:
    """Why it would not start even on empty nodes."""
    code = never_code(nodes, prospect, option)
    if code is ReasonCode.NO_MATCHING_FLAVOR:
        return _too_large(nodes, prospect.shape, option)
    if code is ReasonCode.NODES_EXCLUDED:
        return _ruled_out(nodes, prospect, option)
    return _lost(nodes, prospect, option)


def _too_large(nodes: Nodes, shape: Shape, option: Option) -> Reason:
    pool = where(nodes, option)
    capacity = nodes.capacity[pool]
    largest, total = _amount(capacity.max(axis=0)), _amount(capacity.sum(axis=0))
    there = on_flavors(shape, option)
    message = ""
    for role, flavor in zip(shape.roles, option.flavors, strict=True):
        has = nodes.capacity[nodes.pools[option.cluster, flavor]]
        short = [name for n, name in enumerate(_COLUMNS) if getattr(role.need, name) > has[:, n].max()]
        if short:
            most = amount_words(_amount(has.max(axis=0)), short)
            needs = f"{_whose(shape, role)} {amount_words(role.need, short)} on one node"
            message = f"{needs}; no node {on_flavors(shape, option, flavor)} has more than {most}."
            break
        if not (has >= vector(role.need)).all(axis=1).any():
            needs = f"{_whose(shape, role)} {amount_words(role.need)} on one node"
            message = f"{needs}; no node {on_flavors(shape, option, flavor)} has all of that."
            break
    if not message and shape.topology != "any" and sum(role.replicas for role in shape.roles) > 1:
        near, what = ("on one node", "node") if shape.topology == "node" else ("in one rack", "rack")
        message = f"Needs {need_words(shape, _main(shape))} {near}; no {what} {there} holds that."
    if not message:
        message = _too_many(shape, total, capacity, there)
    numbers = {"largest": numbers_of(largest), "total": numbers_of(total)}
    return Reason(code=ReasonCode.NO_MATCHING_FLAVOR, message=message, numbers=numbers)


def _too_many(shape: Shape, total: Amount, capacity: np.ndarray, there: str) -> str:
    """Each replica fits on some node, but there are too many of them."""
    count = "the node" if len(capacity) == 1 else f"all {len(capacity)} nodes"
    short = [name for name in RESOURCES if getattr(shape.total, name) > getattr(total, name)]
    if short:
        has = "has" if len(capacity) == 1 else "together have"
        return f"Needs {need_words(shape, short)}; {count} {there} {has} {amount_words(total, short)}."
    says = f"Needs {need_words(shape, _main(shape))}, each on one node"
    if len(shape.roles) == 1:
        hold = int(room_for(capacity, vector(shape.roles[0].need)).sum())
        return f"{says}; {count} {there} hold{'s' if len(capacity) == 1 else ''} {hold} of these at most."
    return f"{says}; {count} {there} cannot hold all of these at one time."


def _whose(shape: Shape, role: RoleShape) -> str:
    if len(shape.roles) > 1:
        return f"Role {role.name} needs"
    return "Needs" if role.replicas == 1 else f"Each of its {role.replicas} replicas needs"


def _ruled_out(nodes: Nodes, prospect: Prospect, option: Option) -> Reason:
    """Its own exclusions and labels leave too little."""
    shape, pool = prospect.shape, where(nodes, option)
    left, count = int((prospect.allowed & pool).sum()), int(pool.sum())
    there = on_flavors(shape, option)
    parts = []
    barred = [
        node.name
        for i, node in enumerate(nodes.models)
        if pool[i]
        and (
            {node.name, f"{node.cluster}/{node.name}"} & shape.exclude_nodes
            or node.address in shape.exclude_addresses
        )
    ]
    if barred:
        only = "the only node" if count == 1 else f"all {count} nodes" if len(barred) == count else ""
        parts.append(f"it excludes {_names(barred)}{f', {only} {there}' if only else ''}")
    for label, value in shape.labels:
        has = sum(pool[i] and node.labels.get(label) == value for i, node in enumerate(nodes.models))
        if has < count:
            some = f"only {has} of {count} nodes" if has else "no node"
            verb = "have" if has > 1 else "has"
            parts.append(
                f"{some} {there} {verb} the label {label}={value}{_others(nodes, pool, label, value)}"
            )
    parts += _tainted(nodes, shape, pool)
    for name, need in shape.extended:
        has = sum(pool[i] and node.extended.get(name, 0) >= need for i, node in enumerate(nodes.models))
        if has < count:
            some = f"only {has} of {count} nodes {'have' if has > 1 else 'has'}" if has else "no node has"
            parts.append(f"{some} {need} {name} {there}")
    ends = f"; the {left} that {'are' if left > 1 else 'is'} left cannot hold it" if left else ""
    message = f"Needs {need_words(shape, _main(shape))}; {list_words(parts)}{ends}."
    return Reason(code=ReasonCode.NODES_EXCLUDED, message=message, numbers={"nodes": count, "left": left})


def _tainted(nodes: Nodes, shape: Shape, pool: Mask) -> list[str]:
    """Taints that keep it away, with the nodes."""
    found: dict[str, list[str]] = {}
    for i, node in enumerate(nodes.models):
        for taint in node.taints if pool[i] else ():
            if not tolerates(shape, taint):
                key, value, effect = taint
                found.setdefault(f"{key}{f'={value}' if value else ''}:{effect}", []).append(node.name)
    return [f"it does not tolerate the taint {taint} of {_names(names)}" for taint, names in found.items()]


def _others(nodes: Nodes, pool: Mask, label: str, value: str) -> str:
    """Other values of a label, for one who misspelled it."""
    values = sorted(
        {node.labels[label] for i, node in enumerate(nodes.models) if pool[i] and label in node.labels}
    )
    others = [f"{label}={other}" for other in values if other != value]
    return f" (there is {_names(others)})" if others else ""


def _lost(nodes: Nodes, prospect: Prospect, option: Option) -> Reason:
    """Nodes are blocked, draining or gone."""
    shape, pool = prospect.shape, where(nodes, option) & prospect.allowed
    out = [
        f"{node.name} is {node.unusable}"
        for i, node in enumerate(nodes.models)
        if pool[i] and node.unusable is not None
    ]
    left = int(pool.sum()) - len(out)
    there = on_flavors(shape, option)
    if left:
        ends = f", and the other {f'{left} nodes' if left > 1 else 'node'} {there} cannot hold it"
    else:
        ends = f", and there is no other node {there}"
    return Reason(
        code=ReasonCode.NODE_LOST,
        message=f"Needs {need_words(shape, _main(shape))}; {_names(out)}{ends}.",
        numbers={"unusable": len(out)},
    )


def no_way(nodes: Nodes, shape: Shape) -> Reason:
    """No cluster offers the flavors that were asked for, or enough GPUs on any."""
    clusters = nodes.clusters
    if shape.clusters and not set(shape.clusters) & set(clusters):
        message = (
            f"There is no cluster {list_words(list(shape.clusters), 'or')} with nodes; "
            f"there is {list_words(clusters) or 'none'}."
        )
        return Reason(code=ReasonCode.NO_MATCHING_FLAVOR, message=message, numbers={"clusters": clusters})
    there = [
        name
        for name in clusters
        if (not shape.clusters or name in shape.clusters)
        and (not shape.region or nodes.regions.get(name, "") == shape.region)
    ]
    if clusters and not there:
        regions = sorted({nodes.regions.get(name, "") for name in shape.clusters or clusters} - {""})
        message = (
            f"None of the clusters that it may use is in region {shape.region}; "
            f"{f'they are in {list_words(regions)}' if regions else 'they name no region'}."
        )
        return Reason(code=ReasonCode.NO_MATCHING_FLAVOR, message=message, numbers={"regions": regions})
    asked = sorted({flavor for role in shape.roles for flavor in role.flavors})
    flavors = sorted({flavor for cluster, flavor in nodes.pools if cluster in there})
    missing = [flavor for flavor in asked if flavor not in flavors]
    if missing:
        on = f" on cluster {list_words(there, 'or')}" if shape.clusters else ""
        return Reason(
            code=ReasonCode.NO_MATCHING_FLAVOR,
            message=f"No node{on} has flavor {list_words(missing, 'or')}; there is {list_words(flavors)}.",
            numbers={"flavors": flavors},
        )
    most = int(nodes.capacity[:, 2].max()) if len(nodes) else 0
    has = f"no node has more than {amount_words(Amount(gpu=most))}" if most else "no node has GPUs"
    return Reason(
        code=ReasonCode.NO_MATCHING_FLAVOR,
        message=f"Needs {need_words(shape, _main(shape))}; {has if len(nodes) else 'there is no node'}.",
        numbers={"largest": {"gpu": most}},
    )


def where(nodes: Nodes, option: Option) -> Mask:
    """The nodes that an option takes from."""
    mask = np.zeros(len(nodes), np.bool_)
    for place in option.places:
        mask[nodes.pools[place]] = True
    return mask


def on_flavors(shape: Shape, option: Option, *flavors: str) -> str:
    """``with flavor h100``, and on which cluster if the asker chose one."""
    words = list_words(sorted(set(flavors or option.flavors)))
    return f"with flavor {words}{f' on cluster {option.cluster}' if shape.clusters else ''}"


def numbers_of(amount: Amount) -> dict[str, int]:
    """For programs."""
    return {"cpu": amount.cpu, "memory": amount.memory, "gpu": amount.gpu}


def _main(shape: Shape) -> tuple[str, ...]:
    """What a job is known by: its GPUs, if it asks for any."""
    return ("gpu",) if shape.total.gpu else RESOURCES


def _names(parts: list[str]) -> str:
    more = len(parts) - _NAMED
    return list_words(parts if more <= 0 else [*parts[:_NAMED], f"{more} more"])


def _amount(values: np.ndarray) -> Amount:
    return Amount(*(int(value) for value in values))
