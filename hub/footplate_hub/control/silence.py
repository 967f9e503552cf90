"""Replicas of which nothing is heard: what is told of them, and when they are surely dead. Pure.

Only an engine that makes replicas again by itself lets one go unseen; the others know who lives. Times are
of the monotonic clock. A service that has just started counts from then: what was heard before is not known.
"""

from __future__ import annotations

from footplate_spec import REPLICA_FINAL, Cause, CauseCode, Reason, ReasonCode
from footplate_spec.units import format_seconds

from ..store.attempts import ReplicaRecord
from .board import LiveJob
from .life import Key

__all__ = ["fenced", "lost_reason", "silent"]

SILENT = 45.0  # seconds; agents speak every ten
MARGIN = 15.0  # seconds in which a keeper's last kill has certainly been carried out


def silent(live: LiveJob, now: float) -> dict[Key, float]:
    """Since how many seconds nothing was heard of those replicas that somebody holds."""
    if not live.life.live:
        return {}
    found = {
        key: now - live.heard.get(key, live.since)
        for key, row in live.life.replicas.items()
        if row.holder is not None and row.state not in REPLICA_FINAL
    }
    return {key: seconds for key, seconds in found.items() if seconds > SILENT}


def fenced(live: LiveJob, now: float) -> dict[Key, tuple[str, Cause]]:
    """Those whose agent has ended them by its own clock: who held each, and why it is lost."""
    after = live.spec.recovery.fence_after
    if after == "never":
        return {}
    rows = live.life.replicas
    return {
        key: (rows[key].holder or "", _cause(rows[key], after))
        for key, seconds in silent(live, now).items()
        if seconds > after + MARGIN
    }


def lost_reason(live: LiveJob, now: float) -> Reason | None:
    """Why a job does not go on whose replicas are not heard of, and what would let it."""
    missing = silent(live, now)
    if not missing:
        return None
    rows = [live.life.replicas[key] for key in sorted(missing)]
    first, after = rows[0], live.spec.recovery.fence_after
    others = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    until = "" if after == "never" else f", or nothing was heard for {format_seconds(after)} (fence_after)"
    return Reason(
        code=ReasonCode.NODE_LOST,
        message=(
            f"Nothing has been heard of {first.role} {first.index} on {first.node}{others} for "
            f"{format_seconds(int(max(missing.values())))}. It may still run there, so no other takes its "
            f"place until the cluster confirms that it ended{until}."
        ),
        numbers={"replicas": len(rows)},
    )


def _cause(row: ReplicaRecord, after: int) -> Cause:
    return Cause(
        code=CauseCode.NODE_LOST,
        message=(
            f"Nothing was heard of it on {row.node} for {format_seconds(after)} (fence_after); by then its "
            "own keeper has ended it."
        ),
    )
