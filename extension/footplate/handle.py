"""A job in one's hand: what it does, why it waits, what it left, and how to stop it.

A handle holds nothing but the job's id and what was last seen of it; a lost one is had again by
``footplate.attach``. Nothing here polls: waiting is reading one stream.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from footplate_spec import (
    JOB_FINAL,
    Event,
    Fix,
    JobResult,
    JobState,
    JobSummary,
    JobView,
)
from footplate_spec.units import parse_seconds

from .answers import Metrics, Sentence, nth
from .card import card
from .client import Client
from .downloads import download_tree
from .editing import changed_fields, new_limit
from .errors import (
    FootplateError,
    JobCancelledError,
    JobFailedError,
    RefusedError,
    RemoteError,
    WrongCallError,
)
from .interpreter import check_pickles_open_here
from .values import check_trust, decode
from .watching import Screen, TextScreen, watch
from .wording import duration, state_word, waits_for

__all__ = ["Job"]


class Job:
    """The handle of a job.

    Parameters
    ----------
    client
        Who asks.
    seen
        The job as it was last seen.
    notes
        What was said of its code when it was sent.
    """

    def __init__(self, client: Client, seen: JobSummary, notes: Sequence[str] = ()) -> None:
        self._client = client
        self._seen = seen
        self._view: Any = None
        self._told: Sentence | None = None
        self.notes = list(notes)

    @property
    def id(self) -> str:
        """``digits-7k3f9m``."""
        return self._seen.id

    @property
    def name(self) -> str:
        """The name that it was given."""
        return self._seen.name

    @property
    def owner(self) -> str:
        """Who submitted it."""
        return self._seen.owner

    @property
    def state(self) -> JobState:
        """The state now."""
        return self.refresh().state

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state in JOB_FINAL

    @property
    def last_seen(self) -> JobSummary:
        """What was last heard of it, without asking."""
        return self._seen

    def see(self, summary: JobSummary) -> None:
        """Take note of newer news; a follower calls this."""
        self._seen = summary

    def refresh(self) -> JobSummary:
        """Ask for the job as it is now; an ended one stays as it is."""
        if self._seen.state not in JOB_FINAL:
            self._seen = self._client.job(self.id)
        return self._seen

    def _glance(self) -> None:
        """Refresh for showing: what was last seen will do where nobody answers at once."""
        if self._seen.state not in JOB_FINAL:
            with contextlib.suppress(FootplateError):
                self._seen = self._client.job(self.id, patience=0.5)

    def view(self) -> JobView:
        """Everything about it: spec, attempts, replicas."""
        view = self._client.job(self.id)
        self._seen = view
        return view

    def wait(self, timeout: str | float | None = None) -> Job:
        """Wait for the end, well or not.

        Parameters
        ----------
        timeout
            Seconds, or ``"2h"``.

        Raises
        ------
        TimeoutError
            If it has not ended by then. The job goes on.
        """
        if self._seen.state in JOB_FINAL:
            return self
        seconds = (
            None if timeout is None else timeout if isinstance(timeout, float) else parse_seconds(timeout)
        )
        for item in self._client.follow(self.id, seconds=seconds):
            if item.job is not None:
                self._seen = item.job
        self.refresh()
        return self

    def result(self, timeout: str | float | None = None, trust: str | None = None) -> Any:
        """What it gave back, waiting for it.

        A function's return value; a cell's variables by name; None for a command, whose files
        `download` brings. Of an array, a list of what its runs gave back, in order.

        Parameters
        ----------
        trust
            The owner's name, to open what another person's code pickled.

        Raises
        ------
        RemoteError
            If the code raised, with the remote traceback.
        JobFailedError
            If it ended otherwise; ``JobCancelledError`` if somebody stopped it.
        UntrustedError
            If the result is another person's pickle.
        """
        self.wait(timeout)
        self.raise_for_failure()
        if self._seen.array is not None:
            return [run.result(trust=trust) for run in self.runs()]
        values = self.values(trust)
        return values["return"] if set(values) == {"return"} else values or None

    def runs(self) -> list[Job]:
        """The runs of an array that there are so far, in order."""
        found = self._client.jobs(parent=self.id, limit=100_000)
        return [Job(self._client, run) for run in sorted(found, key=lambda run: run.index or 0)]

    def values(self, trust: str | None = None) -> dict[str, Any]:
        """The values that an ended job left, by name."""
        result = self._client.result(self.id)
        if result.error:
            raise JobFailedError(f"{self.id}: {result.error}", self.id, self._seen.cause)
        outputs = result.outputs
        if any(payload.encoding == "pickle" for payload in outputs.values()):
            python = self._client.job(self.id).spec.python
            me = self._client.me.name
            for payload in outputs.values():
                check_trust(payload, self.owner, me, trust)
            if python is not None:
                check_pickles_open_here(python.version, self.id)
        return {
            name: decode(payload, self._client.blobs.fetch(payload.digest), f"{name!r} of {self.id}")
            for name, payload in outputs.items()
        }

    def raise_for_failure(self, printed: str = "") -> None:
        """Raise what an ended job failed of; nothing if it succeeded.

        Parameters
        ----------
        printed
            The end of what the reader has already seen of its output.
        """
        seen = self._seen
        if seen.state == JobState.SUCCEEDED:
            return
        if seen.state == JobState.CANCELLED:
            why = f": {seen.cause.message}" if seen.cause else ""
            raise JobCancelledError(f"{self.id} was stopped{why}", self.id, seen.cause)
        result = self._left()
        if result.traceback:
            shown = result.traceback.strip().splitlines()[-1:] == printed.strip().splitlines()[-1:]
            error = result.error or result.traceback.strip().splitlines()[-1]
            raise RemoteError(error, result.traceback, self.id, seen.cause, shown=shown)
        raise JobFailedError(_failure(self.id, seen, result), self.id, seen.cause)

    def _left(self) -> JobResult:
        """What a failed job left, which may be nothing: it need not have come to run."""
        try:
            return self._client.result(self.id)
        except RefusedError as refused:
            if refused.code != "no_result":
                raise
            return JobResult(attempt=0, execution=0)

    def logs(
        self,
        follow: bool = False,
        *,
        replica: int = 0,
        role: str | None = None,
        attempt: int | None = None,
        execution: int | None = None,
        tail: int | None = None,
    ) -> str | None:
        """What a replica printed.

        Parameters
        ----------
        follow
            Print it as it comes, to the end, instead of returning it.
        tail
            Only the last bytes.
        """
        if follow:
            self._watch(TextScreen(sys.stdout), role, replica)
            return None
        role = role or self.view().spec.roles[0].name
        text, gap = self._client.log(self.id, role, replica, attempt=attempt, execution=execution, tail=tail)
        note = f"[the bytes {gap} were dropped: the log is over its limit]\n" if gap else ""
        return note + text.decode(errors="replace")

    def attach(self) -> Job:
        """Print its output from the beginning to the end; an interrupt detaches and the job goes on."""
        self._watch(TextScreen(sys.stdout), None, None)
        return self

    def _watch(self, screen: Screen, role: str | None, replica: int | None) -> None:
        watch(self, self._client, screen, role=role, replica=replica)

    @property
    def client(self) -> Client:
        """Who asks."""
        return self._client

    def why(self) -> Sentence:
        """Why it waits, runs as it does, or ended as it did; while it waits, what would start it now."""
        self._told = Sentence.model_validate(self._client.why(self.id).model_dump())
        return self._told

    def apply(self, fix: Fix | int = 1) -> Job:
        """Make a change that `why` offers, while it waits: a fix, or its number from 1, as it was last told.

        Raises
        ------
        WrongCallError
            If there is no such fix, or it is to wait.
        """
        if isinstance(fix, int):
            fix = self.fix(fix)
        if not fix.change:
            raise WrongCallError(f"there is nothing to change: {fix.sentence}")
        self._seen = self._client.edit(self.id, fix.change)
        self._told = None
        return self

    def fix(self, number: int) -> Fix:
        """The change with this number, from 1, of those that `why` told last: others may be offered by now.

        Raises
        ------
        WrongCallError
            If there is none.
        """
        told = self._told or self.why()
        return nth(self.id, told.fixes, number)

    def metrics(self) -> Metrics:
        """The points that it reported, in order."""
        return Metrics(self._client.metrics(self.id))

    def events(self) -> list[Event]:
        """Its timeline."""
        return self._client.events(self.id)

    def cancel(self) -> Job:
        """Stop it: it gets a signal to write a checkpoint, time to do so, and then ends."""
        self._seen = self._client.cancel(self.id)
        return self

    def suspend(self) -> Job:
        """Take it off its machines, or out of the line, until `resume`."""
        self._seen = self._client.suspend(self.id)
        return self

    def resume(self) -> Job:
        """Put it back in line."""
        self._seen = self._client.resume(self.id)
        return self

    def edit(self, **changes: Any) -> Job:
        """Change it while it is queued or suspended; its place in line stays unless it asks for more.

        Of a running job, ``priority`` alone can change here, and its limit by `extend`.

        Parameters
        ----------
        changes
            ``priority``, ``time``, ``region``, ``env``, ``after``, ``exclude``, ``nodes_with``, ``topology``,
            ``max_restarts``, ``grace``, ``fence_after``, ``gpus``, ``cpu``, ``memory``, ``flavor``,
            ``replicas``.
        """
        self._seen = self._client.edit(self.id, changed_fields(self.view().spec, changes))
        return self

    def extend(self, time: str | float) -> Job:
        """Set the time limit of a running job, up to its group's maximum.

        Parameters
        ----------
        time
            The whole limit from its start, ``"4h"``; ``"+30m"`` adds to the present one.
        """
        self._seen = self._client.edit(self.id, {"time_limit": new_limit(time, self.view().time_limit)})
        return self

    def move(self, group: str) -> Job:
        """Let another group pay for it while it is queued or suspended; it keeps its place in line."""
        self._seen = self._client.edit(self.id, {"group": group})
        return self

    def delete(self) -> None:
        """Remove it, its logs and its results, once it has ended."""
        self._client.delete(self.id)

    def download(self, folder: str | Path = ".") -> list[Path]:
        """Fetch what it left in ``$FOOTPLATE_OUTPUT``.

        Raises
        ------
        FootplateError
            If it left nothing.
        """
        files = self._client.result(self.id).files
        if files is None:
            raise FootplateError(f"{self.id} left no files; it would write them to footplate.output()")
        return download_tree(self._client.blobs, files, Path(folder).expanduser())

    def __repr__(self) -> str:
        seen = self._seen
        text = f"<job {self.id}: {state_word(seen)}, {duration(seen)}"
        if seen.state == JobState.QUEUED and (waits := waits_for(seen)):
            text += f"; {waits}"
        if seen.cause:
            text += f"; {seen.cause.code}: {seen.cause.message}"
        return text + ">"

    def _repr_html_(self) -> str:
        return card(self._seen, self.notes)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        self._glance()
        bundle: dict[str, Any] = {"text/plain": repr(self), "text/html": self._repr_html_()}
        if self._view is None:
            from .widget import view_of

            self._view = view_of(self)
        if self._view is not None:
            bundle["application/vnd.jupyter.widget-view+json"] = {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self._view.model_id,
            }
        return bundle


def _failure(job: str, seen: JobSummary, result: JobResult) -> str:
    if seen.cause is not None:
        return f"{job} failed: {seen.cause.message}"
    return f"{job} failed: {result.error or 'no cause was recorded'}"
