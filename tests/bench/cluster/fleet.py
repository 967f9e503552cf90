"""Jobs of a large cluster, and how Kubernetes tells that they were admitted and found their nodes."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Progress", "Ran", "fleet"]

GANGS = 0.2
SIZES = (4, 8, 16, 32, 64)


def fleet(jobs: int) -> list[int]:
    """How many pods of one GPU each job has: a fifth are gangs, most of them small; always the same."""
    rng = random.Random(5)
    weights = [1 / size for size in SIZES]
    return [rng.choices(SIZES, weights)[0] if rng.random() < GANGS else 1 for _ in range(jobs)]


@dataclass(frozen=True)
class Ran:
    """What one scheduler did with a fleet.

    Parameters
    ----------
    admitted, bound
        Seconds from the first submit until the last job might have pods, and until the last pod had a node.
    requests
        All that the API server answered meanwhile and until everything was removed, whoever asked.
    """

    jobs: int
    admitted: float
    bound: float
    requests: float

    @property
    def rate(self) -> float:
        """Admitted jobs a second."""
        return self.jobs / self.admitted


class Progress:
    """What the watches of one run have told."""

    def __init__(self, jobs: int, pods: int) -> None:
        self._jobs, self._pods = jobs, pods
        self._admitted: dict[str, float] = {}
        self._bound: dict[str, float] = {}
        self._living: set[str] = set()
        self._lock = threading.Lock()

    def job(self, now: float, kind: str, item: Mapping[str, Any]) -> None:
        """A Job of Kubernetes: it may have pods once it is not suspended."""
        if kind != "DELETED" and not item["spec"].get("suspend"):
            self._admitted.setdefault(item["metadata"]["uid"], now)

    def pod_group(self, now: float, kind: str, item: Mapping[str, Any]) -> None:
        """A PodGroup of Volcano: its job may have pods once it is let in."""
        if kind != "DELETED" and item.get("status", {}).get("phase") in {"Inqueue", "Running"}:
            self._admitted.setdefault(item["metadata"]["uid"], now)

    def pod(self, now: float, kind: str, item: Mapping[str, Any]) -> None:
        """A pod."""
        uid = item["metadata"]["uid"]
        with self._lock:
            if kind == "DELETED":
                self._living.discard(uid)
            else:
                self._living.add(uid)
            if item["spec"].get("nodeName"):
                self._bound.setdefault(uid, now)

    def done(self) -> bool:
        """Whether all are bound."""
        return len(self._bound) >= self._pods and len(self._admitted) >= self._jobs

    def gone(self) -> bool:
        """Whether no pod is left."""
        return not self._living

    def ran(self, began: float, requests: float) -> Ran:
        """The numbers."""
        return Ran(
            self._jobs, max(self._admitted.values()) - began, max(self._bound.values()) - began, requests
        )

    def __str__(self) -> str:
        return f"{len(self._admitted)} admitted, {len(self._bound)} bound, {len(self._living)} there"
