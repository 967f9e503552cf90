"""What every step of the preparation works with."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Callable

from .api import Api
from .cache import Cache

__all__ = ["Supplies"]


@dataclass(frozen=True)
class Supplies:
    """Where things come from and are kept, and how a step is told to stop.

    Parameters
    ----------
    stop
        Set when the preparation is not wanted any more.
    say
        Told what is going on, for whoever waits.
    know
        Told what was found out and must be remembered, by name.
    """

    api: Api
    cache: Cache
    stop: threading.Event
    say: Callable[[str], None]
    know: Callable[[str, str], None]

    def blob(self, digest: str) -> str:
        """The path of one of the job's blobs, verified."""
        return self.cache.blob(digest, self.api, self.stop)
