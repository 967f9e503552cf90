"""``python -m support.serving``: the service's own process, with the loops standing still.

Everything else is the real one: settings, lock, server, store, JupyterHub's client.
"""

from __future__ import annotations

import sys

from footplate_hub import app, serve
from support.service import FakeControl


class StillControl(FakeControl):
    """Jobs wait for ever."""

    def __init__(self, settings, database, tokens):  # type: ignore[no-untyped-def]
        super().__init__(settings)
        self.database = database


if __name__ == "__main__":
    app.Control = StillControl  # type: ignore[misc]
    sys.exit(serve.main())
