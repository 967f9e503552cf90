"""What can keep a platform from starting, each in one sentence for the person at the terminal."""

from __future__ import annotations

import errno
from pathlib import Path

__all__ = ["UpError", "disk_sentence"]


class UpError(Exception):
    """The platform cannot start or be reached; the message says why and what to do."""


def disk_sentence(error: OSError, folder: Path) -> str:
    """Say what the system said about a file, with the full disk named as such."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"the disk of {folder} is full: free some space there and try again"
    if error.errno == errno.EROFS:
        return f"{folder} is on a read-only disk: choose another folder with --dir"
    return f"{error.filename or folder}: {error.strerror}; check the folder or choose another with --dir"
