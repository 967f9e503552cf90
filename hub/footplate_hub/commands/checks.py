"""What ``footplate doctor`` looks at where a platform runs on this machine."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from ..supervisor.folder import DataFolder, Lock
from ..supervisor.prepare import default_folder
from ..supervisor.status import Status

__all__ = ["checks"]

Check = tuple[str, bool | None, str]


def checks() -> Iterator[Check]:
    """Yield (name, whether all is well, one sentence)."""
    yield _traefik()
    yield from _platform(DataFolder(default_folder().resolve()))


def _traefik() -> Check:
    beside = Path(sys.executable).parent / "traefik"
    if beside.exists():
        return "proxy", True, f"Traefik at {beside}"
    return "proxy", False, "Traefik is missing beside this Python: pip install 'footplate[hub]'"


def _platform(data: DataFolder) -> Iterator[Check]:
    if not data.path.exists():
        yield "folder", None, f"{data.path} is not there yet; 'footplate up' makes it"
        return
    free = shutil.disk_usage(data.path).free
    room = f"{free / 2**30:.1f} GiB free on the disk of {data.path}"
    yield "disk", free > 2**30, room if free > 2**30 else f"only {room}; free some space"
    if Lock(data).holder() is None:
        yield "supervisor", None, "down; 'footplate up' starts it"
        return
    status = Status.read(data)
    if status is None:
        yield "supervisor", None, "starting"
        return
    restless = [child for child in status.children if child.restarts > 3]
    yield "supervisor", not status.trouble, status.trouble or f"up at {status.address}"
    for child in restless:
        yield child.name, False, f"{child.why}, {child.restarts} times; look at {child.log}"
