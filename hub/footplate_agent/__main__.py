"""``python -m footplate_agent keeper DIR``, ``… pod DIR`` or ``… forkserver --socket PATH --root DIR``."""

from __future__ import annotations

import sys
from typing import List


def main(arguments: List[str]) -> int:
    """Run one of them."""
    if len(arguments) == 2 and arguments[0] == "keeper":
        from footplate_agent.keeper import keep

        return keep(arguments[1])
    if arguments[:1] == ["forkserver"]:
        from footplate_agent import forkserver

        return forkserver.main(arguments[1:])
    if len(arguments) == 2 and arguments[0] == "pod":
        from footplate_agent.pod import be_replica

        return be_replica(arguments[1])
    sys.stderr.write("usage: footplate-agent keeper DIR | pod DIR | forkserver --socket PATH --root DIR\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
