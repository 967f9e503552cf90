"""The proofs' counts as a page of the documentation."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from .ledger import ROOT, Chunk, Ledger, fingerprint
from .parts import Part

__all__ = ["write_table"]

COLUMNS = (
    "what",
    "chunks",
    "worlds",
    "passes",
    "admitted",
    "preempted",
    "reserved",
    "reasons",
    "agreed",
    "violated",
)
PAGE = ROOT / "docs" / "proofs" / "queue.md"
HEAD = """# The queue's proofs

Written by `make prove`; each line says how far it came. Every pass is judged twice by code that shares
nothing with the scheduler but its data model (`tests/proofs/queue/`): whether its plan breaks a promise, and
whether each reason is the one that an oracle finds by thinking one obstacle away after the other and trying
every placement. A line's first workload is compared; those behind it share its reason.

"""


def write_table(parts: Sequence[Part], ledgers: Mapping[str, Ledger], page: Path = PAGE) -> None:
    """Write the page."""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(HEAD + "\n".join(_lines(parts, ledgers)) + "\n")


def _lines(parts: Sequence[Part], ledgers: Mapping[str, Ledger]) -> Iterator[str]:
    commit = _git("rev-parse", "--short", "HEAD")
    today = datetime.now(tz=UTC).date().isoformat()
    yield f"{today}, commit {commit}, code and proofs {fingerprint()}."
    yield ""
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|---" * len(COLUMNS) + "|"
    totals = {part.name: ledgers[part.name].total for part in parts}
    for part in parts:
        yield _row(part, len(ledgers[part.name].done), totals[part.name])
    yield ""
    fixes = totals["fixes"].counts
    share = f" ({100 * fixes['kept'] / fixes['fixes']:.2f} %)" if fixes["fixes"] else ""
    yield (
        f"{fixes['asked']:,} workloads that waited were offered {fixes['fixes']:,} fixes; "
        f"applied, {fixes['kept']:,}{share} started the workload as they said."
    )
    yield ""
    every = Chunk()
    for total in totals.values():
        every.add(total)
    sets, few, many = (every.counts[name] for name in ("sets", "set not sufficient", "set not minimal"))
    yield (
        f"Of {sets:,} reasons with all their causes, {few:,} are not sufficient (to lift them all would not "
        f"start the workload) and {many:,} are not minimal (one could be left out)."
    )
    yield ""
    yield from _findings(parts, totals)


def _row(part: Part, done: int, total: Chunk) -> str:
    counts = total.counts
    worlds = counts["worlds"] + counts["stories"]
    agreed = f"{100 * counts['agreed'] / counts['reasons']:.2f} %" if counts["reasons"] else "–"
    violated = sum(count for kind, count in counts.items() if kind.startswith("violated"))
    numbers = [worlds, *(counts[name] for name in ("passes", "admitted", "preempted", "reserved", "reasons"))]
    cells = [
        part.what,
        f"{done} of {len(part.chunks)}",
        *(f"{n:,}" for n in numbers),
        agreed,
        f"{violated:,}",
    ]
    return f"| {' | '.join(cells)} |"


def _findings(parts: Sequence[Part], totals: Mapping[str, Chunk]) -> Iterator[str]:
    for title, start in (
        ("Violations", "violated"),
        ("Disagreements with the oracle", "told"),
        ("Sets of causes", "set not"),
        ("Fixes that were not kept", "not kept"),
    ):
        found = [
            f"- {part.what}: {kind} ({count:,}), for example {totals[part.name].examples[kind][0]}"
            for part in parts
            for kind, count in totals[part.name].counts.most_common()
            if kind.startswith(start)
        ]
        yield f"## {title}"
        yield ""
        yield from found or ["None."]
        yield ""


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
