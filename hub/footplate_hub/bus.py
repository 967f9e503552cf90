"""Events as they happen, to everyone who follows: ``Database(on_events=bus.publish)``.

It wakes; it does not carry. Followers read the store and the files, which have everything in order, so a
follower that cannot keep up costs neither the service's memory nor itself an event.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence

from footplate_spec import Event

__all__ = ["EventBus", "Subscription"]

_LARGEST_BACKLOG = 10_000  # events that one follower may be behind


class Subscription:
    """What one follower has not read yet.

    Parameters
    ----------
    wanted
        Events for which this is false are not kept.
    """

    def __init__(self, wanted: Callable[[Event], bool]) -> None:
        self._wanted = wanted
        self._events: list[Event] = []
        self._arrived = asyncio.Event()
        self.closed = False  # the service stops: say good-bye, the follower comes back to its successor

    def offer(self, event: Event) -> None:
        """Keep an event that is wanted, and wake the follower."""
        if not self._wanted(event):
            return
        if len(self._events) < _LARGEST_BACKLOG:
            self._events.append(event)
        self._arrived.set()

    def nudge(self) -> None:
        """Wake the follower though no event came: a file that it reads has grown."""
        self._arrived.set()

    def close(self) -> None:
        """Tell the follower that nothing more comes."""
        self.closed = True
        self._arrived.set()

    def take(self) -> list[Event]:
        """All events that came since the last call, in order."""
        taken, self._events = self._events, []
        if not self.closed:
            self._arrived.clear()
        return taken

    async def wait(self, seconds: float) -> bool:
        """Wait until something came, at most so long; whether something did."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        return self._arrived.is_set()


class EventBus:
    """Hands every committed event, and word of every log that grew, to those who follow."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._by_topic: dict[str, set[Subscription]] = {}
        self._closed = False

    def publish(self, events: Sequence[Event]) -> None:
        """Called by the database after each commit, in the loop's thread."""
        for subscription in self._subscriptions:
            for event in events:
                subscription.offer(event)
        for event in events:
            for subscription in self._by_topic.get(event.subject, ()):
                subscription.offer(event)

    def nudge(self, subject: str) -> None:
        """Wake the followers of one subject: its logs or metrics have grown."""
        for subscription in self._by_topic.get(subject, ()):
            subscription.nudge()

    def close(self) -> None:
        """End every stream: the service stops."""
        self._closed = True
        for subscription in self._subscriptions.union(*self._by_topic.values()):
            subscription.close()

    @contextlib.contextmanager
    def subscribe(
        self, wanted: Callable[[Event], bool] = lambda _: True, *, subject: str | None = None
    ) -> Iterator[Subscription]:
        """Follow events, of one subject or of all, for as long as the block lasts."""
        subscription = Subscription(wanted)
        if self._closed:
            subscription.close()
        if subject is None:
            self._subscriptions.add(subscription)
        else:
            self._by_topic.setdefault(subject, set()).add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            if subject is not None:
                followers = self._by_topic.get(subject, set())
                followers.discard(subscription)
                if not followers:
                    self._by_topic.pop(subject, None)
