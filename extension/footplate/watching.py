"""A job's output where a person looks: the cell that started it, or a terminal.

The output is written as it comes. While the job waits, its position and reason are shown, and shown anew
when they change. An interrupt detaches: the job goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, Protocol

from footplate_spec import JobState, ReasonCode, Why

from .following import Place
from .wording import duration, waiting_sentence

if TYPE_CHECKING:
    from .client import Client
    from .handle import Job

__all__ = ["NotebookScreen", "Screen", "TextScreen", "Watched", "watch"]

_TAIL = 4096


class Screen(Protocol):
    """Where output and news about waiting go."""

    def write(self, text: str) -> None:
        """The job's own output, at once."""

    def say(self, text: str) -> None:
        """A line about the job, in the place of the one before where that is possible."""


class TextScreen:
    """A terminal: output to one stream, news to standard error."""

    def __init__(self, out: IO[str], news: IO[str] | None = None) -> None:
        self._out, self._news = out, news

    def write(self, text: str) -> None:
        """The job's own output."""
        self._out.write(text)
        self._out.flush()

    def say(self, text: str) -> None:
        """A line of its own."""
        news = self._news or sys.stderr
        news.write(f"{text}\n")
        news.flush()


class NotebookScreen:
    """A cell: output as the cell's own, news in one line that is rewritten."""

    def __init__(self) -> None:
        self._line: Callable[[str], None] | None = None

    def write(self, text: str) -> None:
        """The job's own output."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """One line, rewritten in its place."""
        if self._line is None:
            from IPython import display

            shown: Any = display.DisplayHandle()  # type: ignore[no-untyped-call]
            shown.display({"text/plain": text}, raw=True)
            self._line = lambda text: shown.update({"text/plain": text}, raw=True)
        else:
            self._line(text)


class Watched:
    """What came of watching.

    Parameters
    ----------
    ended
        Whether the job ended; if not, one has detached.
    tail
        The end of the output that was shown.
    """

    def __init__(self, *, ended: bool, tail: str) -> None:
        self.ended = ended
        self.tail = tail


def watch(
    job: Job,
    client: Client,
    screen: Screen,
    *,
    role: str | None = None,
    replica: int | None = None,
    attach_word: str = "%attach",
) -> Watched:
    """Show a job until it ends or an interrupt detaches."""
    tail = ""
    waiting = ""
    place = Place(role, replica)
    try:
        for item in client.follow(job.id, place, on_away=lambda: screen.say(_away(job.id))):
            if item.job is not None:
                before = job.last_seen.state
                job.see(item.job)
                if waiting and item.job.state == JobState.RUNNING != before:
                    screen.say(f"{job.id} started after {duration_of_wait(job)}")
                    waiting = ""
            if item.why is not None and (news := _news(item.why)) and news != waiting:
                waiting = news
                screen.say(f"{job.id} waits, {waiting}")
            if item.text:
                screen.write(item.text)
                tail = (tail + item.text)[-_TAIL:]
    except KeyboardInterrupt:
        stop_word = attach_word.replace("attach", "stop")
        screen.write(
            f"\ndetached from {job.id}, which goes on; {attach_word} {job.id} shows it again, "
            f"{stop_word} {job.id} stops it\n"
        )
        return Watched(ended=False, tail=tail)
    return Watched(ended=True, tail=tail)


def duration_of_wait(job: Job) -> str:
    """From the submit to the start."""
    seen = job.last_seen
    return duration(seen.model_copy(update={"started": None, "ended": seen.started}))


def _news(why: Why) -> str:
    """What is worth a line: not that the queue has yet to look at a job that it was just given."""
    if why.reason is not None and why.reason.code == ReasonCode.PENDING_EVALUATION:
        return ""
    return waiting_sentence(why) if why.state in {JobState.QUEUED, JobState.SUSPENDED} else ""


def _away(job: str) -> str:
    return f"Footplate does not answer; {job} is not affected, its output follows as soon as it is back"
