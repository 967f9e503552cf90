"""``python tests/bench [GROUP]``: run the benchmarks of one group, or of all."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import traceback
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))


def main(only: str) -> int:
    """Run and print; the exit status says whether every goal that could be measured was met."""
    groups = sorted(p.name for p in HERE.iterdir() if p.is_dir() and (p / "__init__.py").exists())
    if only and only not in groups:
        print(f"there is no group {only!r}; there are {', '.join(groups)}", file=sys.stderr)
        return 2
    missed = 0
    for group in [only] if only else groups:
        package = importlib.import_module(f"bench.{group}")
        for found in pkgutil.iter_modules(package.__path__):
            for bench in getattr(importlib.import_module(f"bench.{group}.{found.name}"), "BENCHES", ()):
                try:
                    for result in bench():
                        print(result.line(), flush=True)
                        missed += result.met is False
                except Exception:
                    traceback.print_exc()
                    missed += 1
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
