"""Who uses how much of what, beside what they may."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from footplate_spec import QuotaUse, Usage

from ..queue.model import Amount, Place, Quota
from ..queue.nodes import Nodes
from ..queue.quota import RESOURCES, Quotas, lineage
from ..queue.resource_tree import UNLIMITED
from ..queue.ways import demand, options
from .board import Board

__all__ = ["quota_use"]


def quota_use(board: Board, groups: Collection[str]) -> list[QuotaUse]:
    """For each group and flavor: the limit, what runs, and what waits; groups below it included."""
    nodes = Nodes(board.node_models)
    used: dict[tuple[str, Place], Amount] = {}
    for attempt in board.running.values():
        for placement in attempt.placements:
            place = (placement.cluster, placement.flavor)
            _add(used, groups, attempt.group, [(place, placement.need)])
    queued: dict[tuple[str, Place], Amount] = {}
    for line in board.lines.values():
        first = next(iter(options(nodes, line.shape)), None)
        if first is not None:
            wants = demand(line.shape, first).items()
            _add(queued, groups, line.group, [(p, a * len(line.workloads)) for p, a in wants])
    counted = Quotas(board.groups, board.running.values())
    found = []
    for group in groups:
        model = board.groups.get(group)
        quotas = model.quotas if model is not None else {}
        places = set(nodes.pools) | set(quotas)
        for cluster, flavor in sorted(places):
            place = (cluster, flavor)
            limit = quotas.get(place, Quota()).nominal
            most = zip(RESOURCES, counted.most(group, place), strict=True)
            key = (group, place)
            found.append(
                QuotaUse(
                    group=group,
                    cluster=cluster,
                    flavor=flavor,
                    limit={"cpu": limit.cpu, "memory": limit.memory, "gpu": limit.gpu},
                    most={name: None if amount == UNLIMITED else amount for name, amount in most},
                    used=_usage(used.get(key, Amount())),
                    borrowed=_usage(counted.borrowing_groups(place).get(group, Amount())),
                    held=held.message if (held := board.held(group, cluster)) else None,
                    queued=_usage(queued.get(key, Amount())),
                )
            )
    return found


def _add(
    sums: dict[tuple[str, Place], Amount],
    groups: Collection[str],
    holder: str,
    amounts: Iterable[tuple[Place, Amount]],
) -> None:
    for group in lineage(holder):
        if group in groups:
            for place, amount in amounts:
                sums[group, place] = sums.get((group, place), Amount()) + amount


def _usage(amount: Amount) -> Usage:
    return Usage(cpu=amount.cpu, memory=amount.memory, gpu=amount.gpu)
