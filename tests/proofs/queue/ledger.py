"""What was proved so far: one line a chunk, so that a proof goes on where it was killed.

A ledger belongs to one state of the queue's code and of the proofs; what was proved of another is not
counted.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Chunk", "Ledger", "fingerprint"]

ROOT = Path(__file__).parents[3]
CODE = ("hub/footplate_hub/queue", "tests/proofs/queue")
REPORTS = ("__main__.py", "ledger.py", "table.py")  # no count depends on them
FOLDER = ROOT / "test-results" / "prove" / "queue"
MOST_EXAMPLES = 5


@dataclass
class Chunk:
    """Counts of one part of a proof, and the first few examples of what was found."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def found(self, kind: str, example: str) -> None:
        """Count a finding."""
        self.counts[kind] += 1
        known = self.examples.setdefault(kind, [])
        if len(known) < MOST_EXAMPLES:
            known.append(example)

    def add(self, other: Chunk) -> None:
        """Count another's too."""
        self.counts.update(other.counts)
        for kind, examples in other.examples.items():
            known = self.examples.setdefault(kind, [])
            known.extend(examples[: MOST_EXAMPLES - len(known)])


class Ledger:
    """The chunks of one proof that are done."""

    def __init__(self, proof: str, folder: Path = FOLDER) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / f"{proof}-{fingerprint()}.jsonl"
        self.done: dict[str, Chunk] = {}
        if self._file.exists():
            text = self._file.read_text()
            for line in text.splitlines():
                self._read(line)
            if text and not text.endswith("\n"):
                self._file.write_text(text + "\n")

    def _read(self, line: str) -> None:
        try:
            entry = json.loads(line)
        except ValueError:
            return  # killed while it wrote: that chunk is done again
        self.done[entry["chunk"]] = Chunk(Counter(entry["counts"]), entry["examples"])

    def add(self, name: str, chunk: Chunk) -> None:
        """Keep a chunk, before anything else is done."""
        self.done[name] = chunk
        entry = {"chunk": name, "counts": dict(chunk.counts), "examples": chunk.examples}
        with self._file.open("a") as out:
            out.write(json.dumps(entry) + "\n")
            out.flush()
            os.fsync(out.fileno())

    @property
    def total(self) -> Chunk:
        """All chunks together."""
        total = Chunk()
        for chunk in self.done.values():
            total.add(chunk)
        return total


def fingerprint() -> str:
    """What the code that is proved, and the code that proves it, are now."""
    digest = hashlib.sha256()
    for folder in CODE:
        for file in sorted((ROOT / folder).rglob("*.py")):
            if file.name in REPORTS or file.name.startswith("test_"):
                continue
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
