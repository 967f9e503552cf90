"""Arrays: their runs are made as there is use for them, and what is asked of an array is asked of its runs.

Level-triggered: each look compares what is stored of an array with what is stored of its runs, so whichever
process dies when, the next look goes on.
"""

from __future__ import annotations

from collections.abc import Callable

from footplate_spec import JOB_FINAL, Cause, EventKind, JobSpec, JobState, Reason, ReasonCode

from ..store import Database, arrays
from ..store.arrays import Progress
from .board import Board, LiveJob
from .life import Turn
from .turns import Turns

__all__ = ["Arrays", "to_make"]

_IN_LINE = 32  # runs that wait at one time: enough to fill what becomes free before the next look


def to_make(spec: JobSpec, progress: Progress) -> int:
    """How many more runs are to be made now."""
    if spec.array is None:
        return 0
    room = _IN_LINE - progress.counts.get(JobState.QUEUED.value, 0)
    if spec.array.at_once is not None:
        room = min(room, spec.array.at_once - progress.open)
    return max(0, min(room, progress.size - progress.made))


def end_of(progress: Progress) -> JobState | None:
    """How an array ended, once all its runs have."""
    if progress.open or progress.made < progress.size:
        return None
    for state in (JobState.FAILED, JobState.CANCELLED):
        if progress.counts.get(state.value):
            return state
    return JobState.SUCCEEDED


class Arrays:
    """Looks at arrays whose runs changed.

    Parameters
    ----------
    wake
        Lets the queue read what was made.
    """

    def __init__(self, database: Database, board: Board, turns: Turns, wake: Callable[[], None]) -> None:
        self._database = database
        self._board = board
        self._turns = turns
        self._wake = wake
        self.due: set[str] = set()
        self._limited: dict[str, Reason] = {}

    def reason(self, live: LiveJob) -> Reason | None:
        """Why an array has no run that runs, or why it has no more."""
        for run in sorted(self._board.runs.get(live.id, ())):
            reason = self._board.reason(self._board.jobs[run])
            if reason is not None:
                return reason
        return self._limited.get(live.id)

    async def look(self) -> None:
        """Do what is due for every array whose runs changed."""
        due, self.due = self.due, set()
        for array in due:
            live = self._board.jobs.get(array)
            if live is not None and live.spec.array is not None:
                await self._look_at(live)

    async def _look_at(self, live: LiveJob) -> None:
        array = live.id
        async with self._database.read() as connection:
            progress = await arrays.progress_of(connection, array)
            cause = (
                await arrays.first_failure(connection, array) if end_of(progress) is JobState.FAILED else None
            )
            runs = await arrays.open_runs(connection, array)
        job = live.life.job
        if job.stopping is not None or job.state is JobState.SUSPENDED:
            await self._ask(runs, "cancelled" if job.stopping else "suspended")
        elif job.state in JOB_FINAL or self._board.waits_for_jobs(array):
            return
        else:
            if progress.counts.get(JobState.SUSPENDED.value):
                await self._ask(runs, "resumed")
            await self._make(live, progress)
        await self._turns.take(live, lambda turn: _settle(turn, progress, cause))

    async def _make(self, live: LiveJob, progress: Progress) -> None:
        count = to_make(live.spec, progress)
        self._note_limit(live, progress)
        if count:
            record, spec = live.life.job, live.spec
            await self._database.write(
                lambda t: arrays.make_runs(t, record, spec, first=progress.made, count=count)
            )
            self._wake()

    def _note_limit(self, live: LiveJob, progress: Progress) -> None:
        most = live.spec.array.at_once if live.spec.array else None
        self._limited.pop(live.id, None)
        if most is not None and progress.made < progress.size:
            left = progress.size - progress.made
            self._limited[live.id] = Reason(
                code=ReasonCode.LIMIT_REACHED,
                message=f"No more than {most} of its runs start at one time, as its at_once says; "
                f"{left} more follow as those end.",
                numbers={"at_once": most, "left": left},
            )

    async def _ask(self, runs: list[str], what: str) -> None:
        for run in runs:
            live = self._board.jobs.get(run)
            if live is not None:
                await self._turns.take(live, lambda turn: _asked(turn, what))
            else:
                self._wake()  # not read yet: its array is looked at again once it is


def _asked(turn: Turn, what: str) -> None:
    """Do to one run what was asked of its array, if its state allows it."""
    state, stopping = turn.job.state, turn.job.stopping
    if state in JOB_FINAL or stopping in {"cancelled", "finished"} or stopping == what:
        return
    if what == "resumed":
        if state is JobState.SUSPENDED and not turn.job.alone:
            turn.move(JobState.QUEUED)
            turn.happened(EventKind.JOB_RESUMED)
    elif turn.before.live:
        turn.stop(what)
    elif what == "cancelled":
        turn.finish(JobState.CANCELLED)
    elif state is not JobState.SUSPENDED:
        turn.move(JobState.SUSPENDED)
        turn.happened(EventKind.JOB_SUSPENDED)


def _settle(turn: Turn, progress: Progress, cause: Cause | None) -> None:
    """What an array's own state follows from its runs."""
    if turn.job.state in JOB_FINAL:
        return
    if turn.job.stopping is not None:
        if not progress.open:
            turn.finish(JobState.CANCELLED)
        return
    begun = progress.made - progress.counts.get("queued", 0) - progress.counts.get("suspended", 0)
    if begun > 0 and turn.job.state is JobState.QUEUED:
        turn.move(JobState.STARTING)
        turn.move(JobState.RUNNING, started=turn.job.started or turn.now)
        turn.happened(EventKind.JOB_STARTED)
    end = end_of(progress)
    if end is not None and turn.job.state is JobState.RUNNING:
        turn.finish(end, cause)
