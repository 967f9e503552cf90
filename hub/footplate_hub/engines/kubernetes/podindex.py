"""The pods that are there, by attempt: nobody looks through all of a large cluster's for one job's."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from . import names
from .manifest import Manifest

__all__ = ["PodIndex"]


class PodIndex:
    """Kept in step by whoever watches."""

    def __init__(self) -> None:
        self._all: dict[str, Manifest] = {}
        self._by_attempt: dict[str, dict[str, Manifest]] = {}
        self._waited_for: dict[str, asyncio.Event] = {}

    def take(self, before: Manifest | None, after: Manifest | None) -> None:
        """Take in one change, and wake those who wait for it."""
        pod = after or before
        assert pod is not None
        uid = pod["metadata"]["uid"]
        attempt = (pod["metadata"].get("labels") or {}).get(names.ATTEMPT, "")
        if after is not None:
            self._all[uid] = after
            self._by_attempt.setdefault(attempt, {})[uid] = after
        else:
            self._all.pop(uid, None)
            theirs = self._by_attempt.get(attempt, {})
            theirs.pop(uid, None)
            if not theirs:
                self._by_attempt.pop(attempt, None)
        self.stir(attempt)

    def stir(self, attempt: str) -> None:
        """Wake those who wait for a change of an attempt."""
        event = self._waited_for.pop(attempt, None)
        if event is not None:
            event.set()

    def get(self, uid: str) -> Manifest | None:
        """One pod, if it is there."""
        return self._all.get(uid)

    def of(self, attempt: str) -> Collection[Manifest]:
        """An attempt's."""
        return self._by_attempt.get(attempt, {}).values()

    async def change(self, attempt: str, seconds: float) -> None:
        """Wait until something of an attempt changes, at most so long."""
        event = self._waited_for.setdefault(attempt, asyncio.Event())
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return

    def forget(self, attempt: str) -> None:
        """Nobody asks for an attempt any more."""
        self._waited_for.pop(attempt, None)
