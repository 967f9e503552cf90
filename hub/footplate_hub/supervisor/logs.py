"""Logs of children and dev machines stay within bounds: at most two files of ten megabytes each.

Children append to their files themselves, so a full log is copied and emptied in place; lines written between
the two steps are lost, which a log of ours may do (a job's log may not, and is not kept here).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

__all__ = ["rotate"]

_LARGEST = 10 * 2**20


def rotate(folder: Path, largest: int = _LARGEST) -> None:
    """Copy every log above ``largest`` bytes to ``<name>.1`` and empty it."""
    for log in folder.glob("*.log"):
        if log.stat().st_size <= largest:
            continue
        older = log.with_name(f"{log.name}.1")
        shutil.copyfile(log, older)
        older.chmod(0o600)
        os.truncate(log, 0)
