"""How long jobs really take, as a share of their time limit, learned from those that ended.

The history of the same name and owner counts before that of the owner, the group and everybody. It feeds
ETAs and nothing else: a reservation trusts time limits alone.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Durations", "History", "Whose"]

_Floats = NDArray[np.float64]
Whose = tuple[str, str, str]  # group, owner, name

_KEPT = 128  # endings of one key: jobs change
_ENOUGH = 5  # endings before a key is believed
# What people ask for is mostly far above what they need; this counts only until something has ended.
_UNKNOWN = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.65, 0.85, 1.0])


@dataclass(frozen=True, slots=True)
class History:
    """Shares of the limit that were used, sorted, and whose they are.

    Parameters
    ----------
    whose
        ``name``, ``owner``, ``group`` or ``all``; empty if nothing is known and the shares are a guess.
    """

    shares: _Floats
    whose: str


class Durations:
    """The endings that are remembered."""

    def __init__(self) -> None:
        self._endings: dict[tuple[str, ...], deque[float]] = {}
        self._sorted: dict[tuple[str, ...], _Floats] = {}
        self._known: dict[Whose, History] = {}

    def add(self, group: str, owner: str, name: str, limit: float, duration: float) -> None:
        """Learn from a job that ended by itself or by its limit. One without a limit teaches nothing."""
        if limit <= 0 or duration < 0:
            return
        for _, key in _keys(group, owner, name):
            self._endings.setdefault(key, deque(maxlen=_KEPT)).append(min(duration / limit, 1.0))
            self._sorted.pop(key, None)
        self._known.clear()

    def remaining(
        self, whose: Sequence[Whose], elapsed: _Floats, limits: _Floats, chances: _Floats
    ) -> _Floats:
        """Draw when jobs end, given how long they have run.

        Where everything known of a job's kind ended earlier, any time up to its limit is as likely.

        Parameters
        ----------
        whose
            Group, owner and name of each job.
        elapsed, limits
            Seconds.
        chances
            jobs × draws, between 0 and 1.

        Returns
        -------
        array
            Seconds until the end: jobs × draws.
        """
        numbers: dict[int, int] = {}
        shares: list[_Floats] = []
        which = np.empty(len(whose), np.intp)
        for row, key in enumerate(whose):
            history = self._known.get(key)
            if history is None:
                history = self._known[key] = self.of(*key)
            number = numbers.get(id(history.shares))
            if number is None:
                number = numbers[id(history.shares)] = len(shares)
                shares.append(history.shares)
            which[row] = number
        # All histories in one sorted row, each two apart from the next, so that one search serves all jobs.
        sizes = np.array([len(of_one) for of_one in shares], np.intp)
        ends = np.cumsum(sizes)
        flat = np.concatenate([*shares, np.zeros(1)])
        spaced = flat[:-1] + 2.0 * np.repeat(np.arange(len(shares)), sizes)
        limit = np.maximum(limits, 1.0)
        begin = np.searchsorted(spaced, np.minimum(elapsed / limit, 1.0) + 2.0 * which, side="right")
        known = ends[which] - begin
        position = np.minimum((chances * known[:, None]).astype(np.intp), np.maximum(known - 1, 0)[:, None])
        left = np.maximum(limits - elapsed, 0.0)[:, None]
        drawn = (
            flat[np.minimum(begin[:, None] + position, len(flat) - 1)] * limits[:, None] - elapsed[:, None]
        )
        drawn = np.where(known[:, None] > 0, drawn, chances * left)
        return np.clip(drawn, 0.0, left)

    def of(self, group: str, owner: str = "", name: str = "") -> History:
        """The nearest history that has enough in it."""
        for whose, key in _keys(group, owner, name):
            if len(self._endings.get(key, ())) >= _ENOUGH:
                if key not in self._sorted:
                    self._sorted[key] = np.sort(np.array(self._endings[key]))
                return History(self._sorted[key], whose)
        return History(_UNKNOWN, "")


def _keys(group: str, owner: str, name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    kind = re.sub(r"[\W\d_]+$", "", name)
    if kind:
        yield "name", ("name", group, owner, kind)
    if owner:
        yield "owner", ("owner", owner)
    yield "group", ("group", group)
    yield "all", ()
