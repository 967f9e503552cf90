"""What the running supervisor says about itself, in one small file that ``footplate status`` reads."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .child import Child
from .folder import DataFolder, write_whole

__all__ = ["ChildStatus", "Status"]


@dataclass(frozen=True)
class ChildStatus:
    """One child.

    Parameters
    ----------
    pid
        None between an end and the next start.
    since
        Seconds since the epoch of the last start or end.
    why
        How it last ended.
    """

    name: str
    pid: int | None
    restarts: int
    since: float
    why: str | None
    log: str


@dataclass(frozen=True)
class Status:
    """The platform as its supervisor sees it."""

    pid: int
    address: str
    multi_user: bool
    started: float
    ready: float | None = None
    trouble: str | None = None
    children: list[ChildStatus] = field(default_factory=list)

    @staticmethod
    def of(children: Sequence[Child]) -> list[ChildStatus]:
        """The children's part."""
        return [
            ChildStatus(c.spec.name, c.pid, c.restarts, c.since, c.why, str(c.spec.log)) for c in children
        ]

    def write(self, folder: DataFolder) -> None:
        """Replace the file.

        Raises
        ------
        OSError
            On a full disk; the old file stays.
        """
        values = asdict(self)
        children = {child.pop("name"): child for child in values.pop("children")}
        write_whole(folder.status, json.dumps({"supervisor": values, **children}, indent=2) + "\n")

    @staticmethod
    def read(folder: DataFolder) -> Status | None:
        """The file, or None if there is none that can be read; ask the lock whether it is current."""
        try:
            values: dict[str, dict[str, Any]] = json.loads(folder.status.read_text())
            supervisor = values.pop("supervisor")
            return Status(
                **supervisor, children=[ChildStatus(name=name, **child) for name, child in values.items()]
            )
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None

    @property
    def seconds_to_ready(self) -> float | None:
        """From the start of the supervisor until everything answered."""
        return None if self.ready is None else self.ready - self.started

    @property
    def age(self) -> float:
        """Seconds since the supervisor started."""
        return time.time() - self.started
