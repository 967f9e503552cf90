"""Answers about a job that show themselves well: why it waits, what it reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from footplate_spec import Fix, MetricPoint, Verdict, Why

from .errors import FootplateError

__all__ = ["Checked", "Metrics", "Sentence", "told_with_fixes"]


class Sentence(Why):
    """A `Why` that shows its sentence, and what would help."""

    def __repr__(self) -> str:
        return told_with_fixes(self.sentence, self.fixes)

    __str__ = __repr__


class Checked(Verdict):
    """A `Verdict` that shows its sentence, and what would help."""

    def __repr__(self) -> str:
        return told_with_fixes(self.message, self.fixes)

    __str__ = __repr__


def told_with_fixes(sentence: str, fixes: Sequence[Fix]) -> str:
    """A sentence, and under it a line for each change that would start the job."""
    return "\n".join([sentence, *(f"  - {fix.sentence}" for fix in fixes)])


class Metrics(list[MetricPoint]):
    """Points in order."""

    def __init__(self, points: Sequence[MetricPoint]) -> None:
        super().__init__(points)

    @property
    def names(self) -> list[str]:
        """Names of the values, in the order of their first appearance."""
        return list(dict.fromkeys(name for point in self for name in point.values))

    def last(self) -> Mapping[str, float]:
        """The newest value of each."""
        return {name: value for point in self for name, value in point.values.items()}

    def to_pandas(self) -> Any:
        """A row for each point.

        Raises
        ------
        FootplateError
            If pandas is not installed here.
        """
        try:
            import pandas as pd
        except ImportError:
            raise FootplateError("metrics as a frame need pandas: pip install pandas") from None
        rows = [{**point.model_dump(exclude={"values"}), **point.values} for point in self]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        last = " ".join(f"{name}={value:g}" for name, value in self.last().items())
        return f"<{len(self)} points{': ' + last if last else ''}>"
