"""Who may be made to stop for a workload, by which rule, and what that costs.

``priority``: a lower one, in the same group or one below it. ``reclaim``: by quota, what the other uses is
the workload's own (`Quotas.may_reclaim`). What is stopping already, or may not be preempted, is never taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .model import Amount, Place, Running, Workload
from .nodes import Room, vector
from .quota import Quotas, lineage

__all__ = ["Candidate", "candidates", "cost"]


@dataclass(frozen=True, eq=False)
class Candidate:
    """An attempt that may be taken, and what each node gains by it where that helps.

    Parameters
    ----------
    size
        GPUs, CPU, memory that it frees of what is asked for, also on nodes that are no longer known: quotas
        count them.
    lost
        GPU-seconds since it last saved what it did.
    """

    running: Running
    why: Literal["priority", "reclaim"]
    rows: NDArray[np.intp]
    amounts: Room
    size: tuple[int, int, int]
    lost: float

    @property
    def preference(self) -> tuple[Any, ...]:
        """Smaller is taken first: low priority, young, little lost."""
        return (self.running.priority, -self.running.started, self.lost, self.running.id)

    @property
    def largest(self) -> tuple[Any, ...]:
        """Smaller is taken first: what frees the most."""
        return (*(-amount for amount in self.size), self.preference)


def cost(chosen: Sequence[Candidate]) -> tuple[Any, ...]:
    """Smaller is better: fewest, lowest priority, youngest, least lost; the ids make it total."""
    return (
        len(chosen),
        sorted((candidate.running.priority for candidate in chosen), reverse=True),
        sorted(-candidate.running.started for candidate in chosen),
        sum(candidate.lost for candidate in chosen),
        sorted(candidate.running.id for candidate in chosen),
    )


def candidates(
    workload: Workload,
    asked: Mapping[Place, Amount],
    running: Sequence[Running],
    quotas: Quotas,
    index: Mapping[tuple[str, str], int],
    *,
    now: float,
) -> list[Candidate]:
    """Who may be taken for what is asked, the preferred first."""
    free = [attempt for attempt in running if attempt.preemptible and not attempt.stopping]
    lower = [
        attempt
        for attempt in free
        if attempt.priority < workload.priority and workload.group in lineage(attempt.group)
    ]
    below = {attempt.id for attempt in lower}
    for attempt in lower:  # what the group itself gives up makes room for what it reclaims
        quotas.release(attempt.group, attempt.owner, attempt.placements)
    groups = {attempt.group for attempt in free}
    borrowers = {group for group in groups if quotas.may_reclaim(workload.group, asked, group)}
    for attempt in lower:
        quotas.take(attempt.group, attempt.owner, attempt.placements)
    found = []
    for attempt in free:
        if attempt.id in below or attempt.group in borrowers:
            why: Literal["priority", "reclaim"] = "priority" if attempt.id in below else "reclaim"
            candidate = _candidate(attempt, why, asked, index, now)
            if candidate is not None:
                found.append(candidate)
    return sorted(found, key=lambda candidate: candidate.preference)


def _candidate(
    attempt: Running,
    why: Literal["priority", "reclaim"],
    asked: Mapping[Place, Amount],
    index: Mapping[tuple[str, str], int],
    now: float,
) -> Candidate | None:
    """An attempt as far as it stands in the way; none where it holds nothing that is asked for."""
    held = [p for p in attempt.placements if (p.cluster, p.flavor) in asked]
    if not held:
        return None
    known = [(row, vector(p.need)) for p in held if (row := index.get((p.cluster, p.node))) is not None]
    total = sum((p.need for p in held), Amount())
    since = attempt.started if attempt.saved is None else attempt.saved
    return Candidate(
        attempt,
        why,
        np.array([row for row, _ in known], dtype=np.intp),
        np.array([amount for _, amount in known], dtype=np.int64).reshape(len(known), 3),
        (total.gpu, total.cpu, total.memory),
        sum(placement.need.gpu for placement in attempt.placements) * max(0.0, now - since),
    )
