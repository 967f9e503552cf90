"""One thread that follows many jobs for those who look at them, and ends with the last of them.

A waiting stream costs a socket and nothing else, so a hundred handles on a page are as quiet as one.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from pydantic import ValidationError

from footplate_spec import FollowItem

from .errors import NotConfiguredError, RefusedError
from .following import Lines, Place
from .profile import Profile
from .transport import Backoff, client_options, refusal

__all__ = ["Feed", "feed"]

Taker = Callable[[FollowItem], None]

_PATIENCE = 3600.0
_lock = threading.Lock()
_current: tuple[int, Feed] | None = None


def feed() -> Feed:
    """The feed of this process."""
    global _current  # noqa: PLW0603
    with _lock:
        if _current is None or _current[0] != os.getpid():
            _current = (os.getpid(), Feed())
        return _current[1]


@dataclass(frozen=True)
class _Wanted:
    profile: Profile
    job: str
    take: Taker


class Feed:
    """Followers of jobs, on one thread that lives as long as there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Wanted] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, profile: Profile, job: str, take: Taker) -> None:
        """Follow a job to its end; ``take`` is called on the feed's thread."""
        with self._lock:
            self._waiting.append(_Wanted(profile, job, take))
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._start_waiting)
                return
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._run, args=(self._loop,), name="footplate-feed", daemon=True).start()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        self._tasks: set[asyncio.Task[None]] = set()
        loop.call_soon(self._start_waiting)
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def _start_waiting(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for wanted in waiting:
            task = asyncio.get_running_loop().create_task(_follow(wanted))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        with self._lock:
            # Decided under the lock: whoever adds afterwards starts another thread.
            if not self._tasks and not self._waiting and self._loop is not None:
                self._loop.stop()
                self._loop = None
        task.result()


async def _follow(wanted: _Wanted) -> None:
    """One job's stream, resumed over the service's restarts."""
    place = Place()
    backoff, over = Backoff(_PATIENCE), False
    while not over:
        try:
            options = client_options(wanted.profile, wanted.profile.token())
            async with httpx.AsyncClient(**options) as http:
                given = {name: value for name, value in place.parameters().items() if value is not None}
                async with http.stream("GET", f"jobs/{wanted.job}/follow", params=given) as response:
                    if not response.is_success:
                        await response.aread()
                        raise refusal(response, wanted.profile.url)
                    found = Lines()
                    async for chunk in response.aiter_bytes():
                        backoff = Backoff(_PATIENCE)
                        for item in found.take(chunk):
                            new = place.take(item)
                            if new is not None:
                                wanted.take(new)
                            # Reads on to the end of the body: a stream that is left half read is
                            # cleaned up later, by a loop that is gone then.
                            over = over or item.kind == "end"
        except NotConfiguredError:
            return
        except (httpx.TransportError, httpx.StreamError, ValidationError):
            pass  # resumed below
        except RefusedError as refused:
            if refused.status < 500 and refused.code != "foreign":
                return  # the job was deleted, or is no longer this person's to see
        if not over:
            delay = backoff.delay()
            if delay is None:
                return
            await asyncio.sleep(delay)
