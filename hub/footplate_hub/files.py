"""Bytes on the service's disk: the few moves that blobs, logs and metrics share.

Every function here blocks and is meant for a thread. A full disk is one error, `DiskFullError`, whatever the
system called it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

__all__ = ["DiskFullError", "append", "fsync_folder", "full_disk_is_an_error", "space_left"]


class DiskFullError(Exception):
    """The service's disk is full: the request changed nothing."""

    def __init__(self) -> None:
        super().__init__(
            "the disk of the service is full: nothing was stored; free some space there and try again"
        )


@contextlib.contextmanager
def full_disk_is_an_error() -> Iterator[None]:
    """Turn the system's ways to say "no space" into `DiskFullError`."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise DiskFullError from error
        raise


def append(file: Path, data: bytes, at: int) -> None:
    """Write ``data`` at the end, ``at``; on a full disk the file is as long as before."""
    with full_disk_is_an_error():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(descriptor, data[written:] if written else data, at + written)
        except OSError:
            os.ftruncate(descriptor, at)
            raise
        finally:
            os.close(descriptor)


def fsync_folder(folder: Path) -> None:
    """Make names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def space_left(folder: Path) -> int:
    """Bytes that may still be written there."""
    return shutil.disk_usage(folder).free
