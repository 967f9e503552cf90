"""Where roles that compete for the same nodes fit, when to place one after the other fails.

Only nodes that several roles could use are contested. Walking over these, all that matters of the nodes
behind is how many replicas of each role they took; of equal counts, that with the most of the largest role is
kept. So the search is exact; it gives up where it would be long.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .nodes import Room

__all__ = ["fit_competing"]

_MOST_STEPS = 5000  # what one node takes, added to what those behind took

_Counts = tuple[int, ...]  # of each role, that with the fewest replicas first
_Need = tuple[int, int, int]


def fit_competing(
    room: Room, needs: Sequence[_Need], counts: Sequence[NDArray[np.int64]], replicas: Sequence[int]
) -> list[list[tuple[int, int]]] | None:
    """Place all roles, or nothing.

    Parameters
    ----------
    room
        What each node has left.
    counts
        Of each role, how many replicas each node could take if it took nothing else.

    Returns
    -------
    list of list
        For each role: nodes, and how many replicas there.
    """
    roles = sorted(range(len(needs)), key=lambda role: (replicas[role], role))
    able = np.array([np.minimum(counts[role], replicas[role]) for role in roles])
    contested = (able > 0).sum(axis=0) > 1
    alone = able[:, ~contested].sum(axis=1).tolist()
    wanted = tuple(max(0, replicas[role] - there) for role, there in zip(roles, alone, strict=True))
    rows = np.flatnonzero(contested)
    rows = rows[np.argsort(-able[:, rows].sum(axis=0), kind="stable")]
    ordered = tuple(needs[role] for role in roles)
    most = np.minimum(able[:, rows].T, wanted).tolist()
    walked = _walk(
        [
            _shares(tuple(there), ordered, tuple(few))
            for there, few in zip(room[rows].tolist(), most, strict=True)
        ],
        wanted,
    )
    if walked is None:
        return None
    spots: list[list[tuple[int, int]]] = [[] for _ in needs]
    for place, role in enumerate(roles):
        left = replicas[role]
        taken = [(row, share[place]) for row, share in zip(rows.tolist(), walked, strict=False)]
        taken += [(row, int(able[place, row])) for row in np.flatnonzero(~contested).tolist()]
        for row, count in taken:
            if min(count, left):
                spots[role].append((row, min(count, left)))
                left -= min(count, left)
    return spots


def _walk(nodes: Sequence[Sequence[_Counts]], wanted: _Counts) -> list[_Counts] | None:
    """What each of the first few nodes takes, so that together they take all that is wanted."""
    *goal, most = wanted
    last: dict[_Counts, int] = {(0,) * len(goal): 0}  # the most of the last role, by counts of the others
    behind: list[dict[_Counts, tuple[_Counts, _Counts]]] = []
    steps = 0
    for shares in nodes:
        if last.get(tuple(goal), -1) >= most:
            break
        steps += len(last) * len(shares)
        if steps > _MOST_STEPS:
            return None
        before, last, came = last, {}, {}
        for counts, so_many in before.items():
            for share in shares:
                then = tuple(min(a + b, end) for a, b, end in zip(counts, share, goal, strict=False))
                if so_many + share[-1] > last.get(then, -1):
                    last[then] = so_many + share[-1]
                    came[then] = (counts, share)
        behind.append(came)
    at = tuple(goal)
    if last.get(at, -1) < most:
        return None
    walked = []
    for came in reversed(behind):
        at, share = came[at]
        walked.append(share)
    return walked[::-1]


@lru_cache(maxsize=1024)
def _shares(room: _Counts, needs: tuple[_Need, ...], most: _Counts) -> list[_Counts]:
    """All that one node may take: of the last role as many as then fit."""
    need, *others = needs
    fits = min([most[0], *(max(0, left) // asked for left, asked in zip(room, need, strict=True) if asked)])
    if not others:
        return [(fits,)]
    return [
        (count, *rest)
        for count in range(fits, -1, -1)
        for rest in _shares(
            tuple(left - asked * count for left, asked in zip(room, need, strict=True)),
            tuple(others),
            most[1:],
        )
    ]
