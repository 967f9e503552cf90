"""Runs all proofs of the queue, from where they were left, and writes their table to docs/proofs/queue.md.

``make prove`` calls it. Kill it whenever you like: chunks that are done stay done as long as neither the
queue's code nor the proofs change.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from .ledger import Chunk, Ledger
from .parts import PARTS, Part
from .table import write_table

WRITE_EVERY = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Prove; 1 if something was violated."""
    reader = argparse.ArgumentParser(prog="python -m proofs.queue", description=__doc__)
    reader.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(p.name for p in PARTS)}; all"
    )
    reader.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = reader.parse_args(arguments)
    ledgers = {part.name: Ledger(part.name) for part in PARTS}
    with ProcessPoolExecutor(options.processes) as pool:
        for part in PARTS:
            if not options.parts or part.name in options.parts:
                _prove(part, ledgers, pool)
                write_table(PARTS, ledgers)
    return int(any("violated" in kind for ledger in ledgers.values() for kind in ledger.total.counts))


def _prove(part: Part, ledgers: dict[str, Ledger], pool: ProcessPoolExecutor) -> None:
    ledger = ledgers[part.name]
    running = {pool.submit(_run, part.name, name): name for name in part.chunks if name not in ledger.done}
    written = time.monotonic()
    for future in as_completed(running):
        ledger.add(running[future], future.result())
        if time.monotonic() - written > WRITE_EVERY:
            write_table(PARTS, ledgers)
            written = time.monotonic()
            print(f"{part.what}: {len(ledger.done)} of {len(part.chunks)} chunks", flush=True)
    print(f"{part.what}: {dict(sorted(ledger.total.counts.items()))}", flush=True)


def _run(part: str, chunk: str) -> Chunk:
    return next(p for p in PARTS if p.name == part).chunks[chunk]()


if __name__ == "__main__":
    sys.exit(main())
