"""Control groups that hold a replica to its CPU and memory, in version 2 and version 1.

Standard library only: the launcher makes them as root, the local engine as itself where it may. Where the
kernel gives none (an ordinary user, a container without delegation), limits are advisory.
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
    """Makes and removes groups below one folder in each hierarchy."""

    def __init__(self, parents: list[Path]) -> None:
        self._parents = parents

    def make(self, name: str, cpu: int, memory: int, uid: int | None = None) -> list[str]:
        """Groups with limits (thousandths of a core, bytes), which ``uid`` may join and not change."""
        quota = max(cpu * _PERIOD // 1000, 1000)
        limits = {
            "memory.max": f"{memory}",
            "cpu.max": f"{quota} {_PERIOD}",
            "memory.limit_in_bytes": f"{memory}",
            "cpu.cfs_quota_us": f"{quota}",
        }
        paths = self._paths(name)
        for path in paths:
            _folder(path)
            for file, value in limits.items():
                if (path / file).exists():
                    (path / file).write_text(value, encoding="ascii")
            if uid is not None:
                os.chown(path / "cgroup.procs", uid, -1)
        return [str(path) for path in paths]

    def below(self, name: str, uid: int) -> Cgroups:
        """A person's part, within which the person's processes may be moved by the person."""
        for path in self._paths(name):
            _folder(path)
            if (path / "cgroup.subtree_control").exists():
                (path / "cgroup.subtree_control").write_text("+cpu +memory", encoding="ascii")
            os.chown(path / "cgroup.procs", uid, -1)
        return Cgroups(self._paths(name))

    def enter(self, name: str) -> None:
        """Move this process to a group without limits."""
        for path in self._paths(name):
            _folder(path)
            (path / "cgroup.procs").write_text("0", encoding="ascii")

    def remove(self, name: str) -> None:
        """Remove a replica's groups; one that still holds a process stays until asked again."""
        for path in self._paths(name):
            with contextlib.suppress(OSError):
                path.rmdir()

    def tidy(self) -> None:
        """Remove the folders themselves, where nothing is in them."""
        for parent in self._parents:
            with contextlib.suppress(OSError):
                parent.rmdir()

    def _paths(self, name: str) -> list[Path]:
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} is not a control group's name")
        return [parent / name for parent in self._parents]


def _folder(path: Path) -> None:
    """Make a group that others may enter, whatever the umask: whose process it is for joins it as itself."""
    path.mkdir(exist_ok=True)
    path.chmod(0o755)


def find(folder: str) -> Cgroups | None:
    """Control groups below this process's own, in a folder of this name; None where we may not."""
    lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    own = {controllers: path.lstrip("/") for _, controllers, path in (line.split(":", 2) for line in lines)}
    try:
        if (_MOUNT / "cgroup.controllers").exists() and "" in own:  # version 2
            base = _MOUNT / own[""]
            _folder(base / folder)
            for above in (base, base / folder):
                (above / "cgroup.subtree_control").write_text("+cpu +memory", encoding="ascii")
            return Cgroups([base / folder])
        parents = []
        for wanted in ("memory", "cpu"):
            [at] = [controllers for controllers in own if wanted in controllers.split(",")]
            base = _MOUNT / at if (_MOUNT / at).exists() else _MOUNT / wanted
            _folder(base / own[at] / folder)
            parents.append(base / own[at] / folder)
        return Cgroups(parents)
    except (OSError, ValueError):
        return None  # read-only, not ours, busy, or not there
