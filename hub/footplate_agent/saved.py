"""When a job last saved what it did: what it would lose if it were stopped now is counted from then."""

import os
from typing import Any, Optional

__all__ = ["last_saved"]


def last_saved(checkpoint: Any) -> Optional[float]:
    """Unix time of the newest file or folder in the checkpoint folder; None if there is none."""
    if not checkpoint:
        return None
    try:
        with os.scandir(str(checkpoint)) as entries:
            return max((entry.stat().st_mtime for entry in entries), default=None)
    except OSError:
        return None  # it is being written, or not there: the next look tells
