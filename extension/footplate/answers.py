"""Answers about a job that show themselves well: why it waits, what it reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from footplate_spec import Fix, MetricPoint, Verdict, Why

from .errors import FootplateError, WrongCallError

__all__ = ["Checked", "Metrics", "Sentence", "nth", "told_with_fixes"]


class Sentence(Why):
    """A `Why` that shows its sentence, and what would help."""

    def __repr__(self) -> str:
        return told_with_fixes(self.sentence, self.fixes, f"%why --apply N {self.job} makes change N")

    __str__ = __repr__

    def _repr_html_(self) -> str:
        head = f"<strong>{escape(self.job)}</strong> {escape(self.state)}"
        return _html(f"{head}<br>{escape(self.sentence)}", self.fixes, f"%why --apply {{}} {self.job}")


class Checked(Verdict):
    """A `Verdict` that shows its sentence, and what would help."""

    def __repr__(self) -> str:
        return told_with_fixes(self.message, self.fixes)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return _html(escape(self.message), self.fixes)


def told_with_fixes(sentence: str, fixes: Sequence[Fix], how: str = "") -> str:
    """A sentence, and under it a line for each change that would start the job.

    Parameters
    ----------
    how
        How to make change N; without it, changes have no numbers.
    """
    changes = [fix.sentence for fix in fixes if fix.change or not how]
    waits = [fix.sentence for fix in fixes if fix.sentence not in changes]
    lines = [f"  {f'{n}.' if how else '-'} {text}" for n, text in enumerate(changes, 1)]
    lines += [f"  -  {text}" for text in waits]
    return "\n".join([sentence, *lines, *([f"({how})"] if how and changes else [])])


def nth(job: str, fixes: Sequence[Fix], number: int) -> Fix:
    """The change with a number, from 1.

    Raises
    ------
    WrongCallError
        If there is none, or it is to wait.
    """
    offered = [fix for fix in fixes if fix.change]
    if not offered:
        raise WrongCallError(f"no change is offered for {job}; %why {job} says what it waits for")
    if not 1 <= number <= len(offered):
        there = "is 1 change" if len(offered) == 1 else f"are {len(offered)} changes"
        raise WrongCallError(
            f"there {there} to make for {job}, and no number {number}; %why {job} lists them"
        )
    return offered[number - 1]


def _html(sentence: str, fixes: Sequence[Fix], how: str = "") -> str:
    """Colours and fonts are left to the page, so both themes read well."""
    items = []
    for number, fix in enumerate([fix for fix in fixes if fix.change], 1):
        code = f" <code>{escape(how.format(number))}</code>" if how else ""
        items.append(f"<li>{escape(fix.sentence)}{code}</li>")
    waits = "".join(f"<div>{escape(fix.sentence)}</div>" for fix in fixes if not fix.change)
    return f"<div>{sentence}{f'<ol>{chr(10).join(items)}</ol>' if items else ''}{waits}</div>"


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
