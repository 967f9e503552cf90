"""Who waits for whom, in memory and in step with the store, and what follows from how jobs end.

One who begins to wait is expected before the store is read: an end that is stored from then on is told
here, and one that was stored before is found there, so none is missed. Other people may read the words
made here, so they count jobs and name none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from footplate_spec import After, Cause, CauseCode, JobState, Reason, ReasonCode

from ..store.dependencies import Dependency

__all__ = ["Dependencies", "never_satisfied", "waiting_for_jobs"]

_WORDS = {"succeeded": "succeed", "failed": "fail", "finished": "end"}


class Dependencies:
    """What every waiting job waits for."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, Dependency]] = {}
        self._dependents: dict[str, set[str]] = {}
        self.unread: set[str] = set()  # jobs for which the store has not been asked yet

    def expect(self, job: str, after: Sequence[After]) -> None:
        """A job waits for these, and for nothing else."""
        self.forget(job)
        if after:
            self.unread.add(job)
            self._of[job] = {one.job: Dependency(one.job, one.outcome) for one in after}
            for one in after:
                self._dependents.setdefault(one.job, set()).add(job)

    def found(self, job: str, stored: Iterable[Dependency]) -> None:
        """Take over the ends that the store knows."""
        self.unread.discard(job)
        for dependency in stored:
            if dependency.state is not None and dependency.upstream in self._of.get(job, {}):
                self._of[job][dependency.upstream] = dependency

    def ended(self, upstream: str, state: JobState) -> set[str]:
        """An upstream job has ended; those who wait for it."""
        dependents = self._dependents.pop(upstream, set())
        for job in dependents:
            self._of[job][upstream] = replace(self._of[job][upstream], state=state)
        return dependents

    def forget(self, job: str) -> None:
        """A job waits for nothing any more."""
        self.unread.discard(job)
        for upstream in self._of.pop(job, {}):
            dependents = self._dependents.get(upstream, set())
            dependents.discard(job)
            if not dependents:
                self._dependents.pop(upstream, None)

    def of(self, job: str) -> Sequence[Dependency]:
        """What a job waits for or has waited for."""
        return tuple(self._of.get(job, {}).values())


def waiting_for_jobs(dependencies: Sequence[Dependency]) -> Reason | None:
    """Why a job may not start yet, if others must end first."""
    open_ = [_WORDS[dependency.outcome] for dependency in dependencies if not dependency.met]
    if not open_:
        return None
    counts = [(word, open_.count(word)) for word in _WORDS.values() if word in open_]
    told = " and for ".join(
        f"{'another job' if n == 1 else f'{n} other jobs'} to {word}" for word, n in counts
    )
    return Reason(
        code=ReasonCode.WAITING_FOR_JOBS, message=f"It waits for {told}.", numbers={"jobs": len(open_)}
    )


def never_satisfied(dependencies: Sequence[Dependency]) -> Cause | None:
    """Why a job can never start, if one of the others ended in another way than it needs."""
    for dependency in dependencies:
        if dependency.never and dependency.state is not None:
            needed = f"it was to start only once that job had {_HAD[dependency.outcome]}"
            message = f"A job that it waited for {_ENDED[dependency.state]}, and {needed}."
            return Cause(code=CauseCode.DEPENDENCY_NEVER_SATISFIED, message=message)
    return None


_HAD = {"succeeded": "succeeded", "failed": "failed"}
_ENDED = {
    JobState.SUCCEEDED: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "was cancelled",
}
