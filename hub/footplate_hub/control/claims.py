"""Which incarnation of a replica may run, where an engine makes pods again by itself. Pure.

A pod that was evicted, or whose node died, comes back under another uid with an empty folder. It may carry
out an execution only if nobody else does or did: the first that asks holds the replica, and loses it when
the engine confirms that it is gone.
"""

from __future__ import annotations

from footplate_spec import REPLICA_FINAL, Cause, CauseCode, Claim

from .course import lose
from .life import Key, Turn

__all__ = ["GONE", "grant", "lose_holder"]

GONE = Cause(code=CauseCode.NODE_LOST, message="The replica's pod is gone, and its engine cannot say why.")


def grant(turn: Turn, key: Key, asker: Claim, *, gone: bool) -> int | None:
    """The execution that ``asker`` may carry out, if any; ``gone``: whoever held the replica is."""
    if not turn.before.live:
        return None
    if gone:
        lose_holder(turn, key, turn.replicas[key].holder, GONE)
        return None  # what follows from that is decided first
    row = turn.replicas[key]
    if row.state in REPLICA_FINAL or row.holder not in {None, asker.holder}:
        return None
    if row.holder is None:
        turn.set_replica(row, holder=asker.holder, node=asker.node or row.node)
    return row.execution


def lose_holder(turn: Turn, key: Key, holder: str | None, cause: Cause) -> None:
    """Note that an incarnation is gone, and with it what it ran."""
    row = turn.replicas.get(key)
    if row is None or holder is None or row.holder != holder:
        return
    lose(turn, row, cause)
    turn.set_replica(turn.replicas[key], holder=None)
