"""Word that something happened, to everyone who follows: ``Database(on_events=bus.publish)``.

It wakes; it does not carry. Followers read the store and the files, which have everything in order, so a
follower that cannot keep up costs the service no memory and itself no event.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

from footplate_spec import Event

__all__ = ["EventBus", "Subscription"]


class Subscription:
    """One follower's bell.

    Parameters
    ----------
    closed
        The service stops: the follower says good-bye and comes back to its successor.
    """

    def __init__(self) -> None:
        self.closed = False
        self._events = False
        self._woken = asyncio.Event()

    def ring(self, *, event: bool) -> None:
        """Wake the follower: an event was committed, or a file that it reads has grown."""
        self._events = self._events or event
        self._woken.set()

    def close(self) -> None:
        """Wake the follower for the last time."""
        self.closed = True
        self._woken.set()

    async def wait(self, seconds: float) -> bool:
        """Wait until woken, at most so long; whether it was."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        return self._woken.is_set()

    def heard(self) -> bool:
        """Whether events were committed since the last call; the next `wait` waits anew."""
        heard, self._events = self._events, False
        if not self.closed:
            self._woken.clear()
        return heard


class EventBus:
    """Tells those who follow of every committed event, and of every log that grew."""

    def __init__(self) -> None:
        self._all: set[Subscription] = set()
        self._by_subject: dict[str, set[Subscription]] = {}
        self._closed = False

    def publish(self, events: Sequence[Event]) -> None:
        """Called by the database after each commit, in the loop's thread."""
        for subscription in self._all:
            subscription.ring(event=True)
        for subject in {event.subject for event in events}:
            for subscription in self._by_subject.get(subject, ()):
                subscription.ring(event=True)

    def nudge(self, subject: str) -> None:
        """Wake the followers of one subject: its logs or metrics have grown."""
        for subscription in self._by_subject.get(subject, ()):
            subscription.ring(event=False)

    def close(self) -> None:
        """End every stream, and those that still come: the service stops."""
        self._closed = True
        for subscription in self._all.union(*self._by_subject.values()):
            subscription.close()

    @contextlib.contextmanager
    def subscribe(self, *, subject: str | None = None) -> Iterator[Subscription]:
        """Follow one subject, or everything, for as long as the block lasts."""
        subscription = Subscription()
        if self._closed:
            subscription.close()
        group = self._all if subject is None else self._by_subject.setdefault(subject, set())
        group.add(subscription)
        try:
            yield subscription
        finally:
            group.discard(subscription)
            if subject is not None and not group:
                self._by_subject.pop(subject, None)
