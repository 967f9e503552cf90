"""Whether this machine can run the cluster: exits with 1 and says why not."""

from __future__ import annotations

import sys

from .tools import missing

if __name__ == "__main__":
    why = missing()
    if why is not None:
        print(why)
    sys.exit(why is not None)
