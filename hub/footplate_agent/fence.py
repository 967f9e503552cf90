"""How long a replica may go on that hears nothing from the service, where the job sets ``fence_after``.

Past that the service regards it as dead and may start another, so it must have ended by then: its keeper
counts from when the last answered request was *sent*, on a clock that runs while the machine sleeps.
"""

from __future__ import annotations

import time
from typing import Optional

__all__ = ["Fence", "clock"]


def clock() -> float:
    """Seconds, the same for keeper and agent; they pass while the machine is suspended."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)  # Linux has it
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class Fence:
    """Decides when a replica must begin to end.

    Parameters
    ----------
    after
        Seconds without a word; None: never.
    grace
        Seconds that ending may take.
    """

    def __init__(self, after: Optional[float], grace: float) -> None:
        self._lasts = None if after is None else max(0.0, after - grace)
        self._until = float("-inf")

    def heard(self, sent: float) -> None:
        """Take note of an answer to what was sent at that time."""
        if self._lasts is not None:
            self._until = max(self._until, sent + self._lasts)

    def left(self, now: float) -> Optional[float]:
        """Seconds until it must begin to end, 0 from then on; None: it need not."""
        return None if self._lasts is None else max(0.0, self._until - now)
