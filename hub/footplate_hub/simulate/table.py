"""A CSV with a header, read row by row; what is wrong is said with its line."""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .trace import TraceError

__all__ = ["Row", "header", "rows"]


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    file: Path
    line: int
    cells: dict[str, str]

    def wrong(self, sentence: str) -> TraceError:
        """An error at this line."""
        return TraceError(sentence, self.file, self.line)

    def text(self, column: str, default: str = "") -> str:
        """A cell without blanks around it; the default where it is empty or the column is absent."""
        return (self.cells.get(column) or "").strip() or default

    def number(self, column: str, default: float | None = None, *, least: float = 0.0) -> float:
        """A finite number, not below ``least``."""
        text = self.text(column)
        if not text:
            if default is None:
                raise self.wrong(f"{column} is empty; give a number")
            return default
        try:
            value = float(text)
        except ValueError:
            raise self.wrong(f"{column} is {text!r}; give a number") from None
        if not math.isfinite(value) or value < least:
            raise self.wrong(f"{column} is {text}, which is less than {least:g} or not finite")
        return value

    def whole(self, column: str, default: int | None = None, *, least: int = 0) -> int:
        """A whole number, not below ``least``."""
        value = self.number(column, default, least=least)
        if value != int(value):
            raise self.wrong(f"{column} is {value:g}; give a whole number")
        return int(value)

    def parsed(self, column: str, parse: Callable[[Any], int], default: int = 0) -> int:
        """An amount as people write it, by one of the parsers of ``footplate_spec.units``."""
        text = self.text(column)
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            raise self.wrong(f"{column}: {error}") from None


def header(file: Path) -> str:
    """The first line.

    Raises
    ------
    TraceError
        If the file cannot be read as text, or is empty.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            first = stream.readline().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise TraceError(f"cannot be read: {why}", file) from error
    if not first:
        raise TraceError("is empty; docs/simulate.md shows what a trace looks like", file)
    return first


def rows(
    file: Path, required: Sequence[str], optional: Sequence[str] | None = None, *, delimiter: str = ","
) -> Iterator[Row]:
    """Every row that is not blank.

    Parameters
    ----------
    optional
        The other columns that may be there; None allows any.
    """
    header(file)
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, delimiter=delimiter, restkey="", strict=True)
        columns = [column.strip() for column in reader.fieldnames or ()]
        reader.fieldnames = columns
        for column in required:
            if column not in columns:
                near = difflib.get_close_matches(column, columns, 1)
                hint = f" (is {near[0]!r} meant?)" if near else f"; it has {', '.join(columns)}"
                raise TraceError(f"has no column {column!r}{hint}", file, 1)
        known = {*required, *(optional if optional is not None else columns)}
        for column in columns:
            if column not in known:
                near = difflib.get_close_matches(column, sorted(known), 1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(known))}"
                raise TraceError(f"has an unknown column {column!r}{hint}", file, 1)
        try:
            for cells in reader:
                if "" in cells and any(extra.strip() for extra in cells[""]):
                    raise TraceError("has more cells than the header", file, reader.line_num)
                yield Row(file, reader.line_num, cells)
        except csv.Error as error:
            raise TraceError(f"is no CSV: {error}", file, reader.line_num) from None
        except UnicodeDecodeError:
            raise TraceError("is no UTF-8 text", file, reader.line_num) from None
