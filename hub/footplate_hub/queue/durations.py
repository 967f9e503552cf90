"""How long jobs really take, as a share of their time limit, learned from those that ended.

The history of the same name and owner counts before that of the owner, the group and everybody. It feeds
ETAs and nothing else: a reservation trusts time limits alone.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Durations", "History"]

_Floats = NDArray[np.float64]

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

    def remaining(self, elapsed: float, limit: float, chances: _Floats) -> _Floats:
        """Seconds until the end at each chance (0 to 1), given that it has run for ``elapsed``.

        Where everything known ended earlier, any time up to the limit is as likely as any other.
        """
        left = max(limit - elapsed, 0.0)
        begin = int(np.searchsorted(self.shares, elapsed / limit, side="right")) if limit > 0 else 0
        rest = self.shares[begin:]
        if rest.size == 0:
            return chances * left
        positions = np.minimum((chances * rest.size).astype(np.intp), rest.size - 1)
        return np.minimum(np.maximum(rest[positions] * limit - elapsed, 0.0), left)


class Durations:
    """The endings that are remembered."""

    def __init__(self) -> None:
        self._endings: dict[tuple[str, ...], deque[float]] = {}
        self._sorted: dict[tuple[str, ...], _Floats] = {}

    def add(self, group: str, owner: str, name: str, limit: float, duration: float) -> None:
        """Learn from a job that ended by itself or by its limit. One without a limit teaches nothing."""
        if limit <= 0 or duration < 0:
            return
        for _, key in _keys(group, owner, name):
            self._endings.setdefault(key, deque(maxlen=_KEPT)).append(min(duration / limit, 1.0))
            self._sorted.pop(key, None)

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
