"""The one line that a benchmark prints."""

from __future__ import annotations

import json
from dataclasses import dataclass

__all__ = ["Result", "percentile"]


@dataclass(frozen=True)
class Result:
    """A measurement beside its baseline.

    Parameters
    ----------
    value, baseline_value
        In ``unit``; None where it could not be measured, which ``why`` explains.
    goal
        In words.
    met
        Whether the goal was reached; None for a comparison that has none.
    """

    name: str
    value: float | None
    unit: str
    goal: str
    met: bool | None
    baseline: str = ""
    baseline_value: float | None = None
    why: str = ""

    @property
    def ratio(self) -> float | None:
        """``value / baseline_value``."""
        if self.value is None or not self.baseline_value:
            return None
        return self.value / self.baseline_value

    def line(self) -> str:
        """The JSON line."""
        fields = {
            "name": self.name,
            "value": _rounded(self.value),
            "unit": self.unit,
            "baseline": self.baseline,
            "baseline_value": _rounded(self.baseline_value),
            "ratio": _rounded(self.ratio),
            "goal": self.goal,
            "met": self.met,
        }
        return json.dumps(fields | ({"why": self.why} if self.why else {}))


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least ``share`` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(share * 1000) // 1000) - 1)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
