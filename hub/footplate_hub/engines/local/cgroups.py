"""Control groups that hold a replica to its CPU and memory, in version 2 and version 1.

Standard library only, since the launcher uses it as root. Where the kernel gives no groups (an ordinary
user, a container without delegation), `find` answers None, and limits are advisory.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

__all__ = ["Cgroups", "find"]

_MOUNT = Path("/sys/fs/cgroup")
_PERIOD = 100_000  # microseconds
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,200}")


class Cgroups:
    """Makes and removes groups below one parent in each hierarchy.

    Parameters
    ----------
    parents
        The folder of this platform in each hierarchy.
    version
        1 or 2.
    """

    def __init__(self, parents: list[Path], version: int) -> None:
        self._parents = parents
        self._version = version

    def make(self, name: str, cpu: int, memory: int, uid: int | None = None) -> list[str]:
        """Groups for one replica with its limits, and their paths.

        Parameters
        ----------
        cpu, memory
            Thousandths of a core, and bytes.
        uid
            Who may put processes into the groups, without being able to change their limits.
        """
        paths = []
        for parent in self._parents:
            path = parent / _checked(name)
            path.mkdir(exist_ok=True)
            for file, value in self._limits(path, cpu, memory):
                (path / file).write_text(value, encoding="ascii")
            if uid is not None:
                os.chown(path / "cgroup.procs", uid, -1)
            paths.append(str(path))
        return paths

    def remove(self, name: str) -> None:
        """Remove a replica's groups; one that still holds a process stays until asked again."""
        for parent in self._parents:
            with contextlib.suppress(OSError):
                (parent / _checked(name)).rmdir()

    def _limits(self, path: Path, cpu: int, memory: int) -> list[tuple[str, str]]:
        quota = max(cpu * _PERIOD // 1000, 1000)
        if self._version == 2:
            return [("memory.max", str(memory)), ("cpu.max", f"{quota} {_PERIOD}")]
        if (path / "memory.limit_in_bytes").exists():
            return [("memory.limit_in_bytes", str(memory))]
        return [("cpu.cfs_quota_us", str(quota))]


def _checked(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not a control group's name")
    return name


def find(folder: str, own: str | None = None) -> Cgroups | None:
    """Control groups below this process's own, in a folder of this name; None where we may not.

    Parameters
    ----------
    own
        Text of ``/proc/self/cgroup``.
    """
    lines = (own or Path("/proc/self/cgroup").read_text(encoding="ascii")).splitlines()
    places = {
        controllers: path.lstrip("/") for _, controllers, path in (line.split(":", 2) for line in lines)
    }
    try:
        if (_MOUNT / "cgroup.controllers").exists() and "" in places:
            return _version_2(_MOUNT / places[""], folder)
        return _version_1(places, folder)
    except OSError:
        return None  # read-only, not ours, or busy: limits are advisory then


def _version_2(base: Path, folder: str) -> Cgroups:
    (base / "cgroup.subtree_control").write_text("+cpu +memory", encoding="ascii")
    parent = base / folder
    parent.mkdir(exist_ok=True)
    (parent / "cgroup.subtree_control").write_text("+cpu +memory", encoding="ascii")
    return Cgroups([parent], 2)


def _version_1(places: dict[str, str], folder: str) -> Cgroups | None:
    parents = []
    for wanted in ("memory", "cpu"):
        for controllers, path in places.items():
            if wanted in controllers.split(","):
                base = _MOUNT / controllers
                parent = (base if base.exists() else _MOUNT / wanted) / path / folder
                parent.mkdir(exist_ok=True)
                parents.append(parent)
    return Cgroups(parents, 1) if len(parents) == 2 else None
