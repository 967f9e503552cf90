"""What must hold of every plan; each finding is a sentence."""

from __future__ import annotations

from footplate_hub.queue.model import Plan, Snapshot

from .preempt import preemption_violations
from .reserved import first_promised_the_earliest, reservations_kept, reservations_real
from .started import gangs_whole, holds_respected, limits_kept, nodes_not_oversubscribed, places_permitted
from .staying import everyone_once, nobody_forgotten, nobody_overtaken

__all__ = ["violations"]

PROMISES = (
    everyone_once,
    gangs_whole,
    places_permitted,
    nodes_not_oversubscribed,
    limits_kept,
    holds_respected,
    preemption_violations,
    reservations_real,
    reservations_kept,
    first_promised_the_earliest,
    nobody_forgotten,
    nobody_overtaken,
)


def violations(snapshot: Snapshot, now: float, plan: Plan) -> list[str]:
    """Everything that is wrong with a plan."""
    return [sentence for promise in PROMISES for sentence in promise(snapshot, now, plan)]
