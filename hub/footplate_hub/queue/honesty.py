"""How far ETAs were off, so that the next ones are as wide as they must be.

Errors are logarithms of (real wait + 1 min) / (middle of the foretold + 1 min), apart for short and long
waits. A range runs between two of their quantiles, and those move with how often the last ranges were missed:
adaptive conformal inference (Gibbs and Candès, 2021), which keeps its promise whatever the distribution.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from dataclasses import dataclass, field

__all__ = ["Errors", "Outcome"]

_BOUNDS = (300.0, 3600.0, 6 * 3600.0, 86400.0, 3 * 86400.0)  # seconds of foretold wait that part the classes
_KEPT = 100
_TARGET = 0.1  # outcomes below a range, and above it
_STEP = 0.02
_SOFT = 60.0
_PRIOR = (-2.0, -1.2, -0.7, -0.4, -0.2, 0.0, 0.2, 0.4, 0.8, 1.4)


@dataclass(frozen=True, slots=True)
class Outcome:
    """An ETA that was given, as waits from the time it was given, and what came true."""

    low: float
    middle: float
    high: float
    real: float

    @property
    def inside(self) -> bool:
        """Whether the range was right."""
        return self.low <= self.real <= self.high


@dataclass
class _Class:
    errors: deque[float] = field(default_factory=lambda: deque(_PRIOR, maxlen=_KEPT))
    below: float = _TARGET
    above: float = _TARGET

    def quantile(self, share: float) -> float:
        ordered = sorted(self.errors)
        if share <= 0:
            return ordered[0] - 0.5
        if share >= 1:
            return ordered[-1] + 0.5
        return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


class Errors:
    """What was learned from outcomes, in the order in which they came true."""

    def __init__(self) -> None:
        self._classes = [_Class() for _ in range(len(_BOUNDS) + 1)]

    def add(self, outcome: Outcome) -> None:
        """Learn."""
        found = self._of(outcome.middle)
        found.errors.append(math.log((outcome.real + _SOFT) / (outcome.middle + _SOFT)))
        # A miss makes the next ranges wider on that side, a hit a little narrower.
        found.below = _clipped(found.below + _STEP * (_TARGET - (outcome.real < outcome.low)))
        found.above = _clipped(found.above + _STEP * (_TARGET - (outcome.real > outcome.high)))

    def around(self, wait: float) -> tuple[float, float]:
        """The range of real waits where ``wait`` is foretold."""
        found = self._of(wait)
        low = (wait + _SOFT) * math.exp(found.quantile(found.below)) - _SOFT
        high = (wait + _SOFT) * math.exp(found.quantile(1 - found.above)) - _SOFT
        return max(low, 0.0), max(high, 0.0)

    def _of(self, wait: float) -> _Class:
        return self._classes[bisect.bisect_right(_BOUNDS, wait)]


def _clipped(share: float) -> float:
    return min(max(share, -0.05), 0.45)
