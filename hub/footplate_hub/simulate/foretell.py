"""ETAs given during a replay, each kept until it is known what came true."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..queue.eta import Eta, Forecaster
from ..queue.honesty import Outcome
from ..queue.model import Plan, Snapshot
from .report import Foretold, quantile
from .world import Job

__all__ = ["Foreteller"]


@dataclass
class Foreteller:
    """Watches a replay: gives a range to those who wait as they come, learns from those who start and end.

    Parameters
    ----------
    every
        Every which one of them is given a range; a forecast costs as much as several passes.
    """

    every: int = 1
    forecaster: Forecaster = field(default_factory=Forecaster)
    outcomes: list[Outcome] = field(default_factory=list)
    unknown: int = 0
    _given: dict[str, tuple[float, Eta]] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _came: int = 0

    def __call__(  # noqa: PLR0917 - what a replay tells its watcher
        self,
        snapshot: Snapshot,
        plan: Plan,
        now: float,
        submitted: list[Job],
        started: list[Job],
        ended: list[Job],
    ) -> None:
        """After each pass."""
        for job in ended:
            trace = job.trace
            took = min(trace.duration, trace.time_limit) if trace.time_limit else trace.duration
            self.forecaster.durations.add(trace.group, trace.owner, trace.name, trace.time_limit, took)
        for job in submitted:
            self._names[job.trace.id] = job.trace.name
        for job in started:
            self._came_true(job.trace.id, now)
        waits = [job for job in submitted if job.began is None]
        chosen = [job for number, job in enumerate(waits, self._came) if number % self.every == 0]
        self._came += len(waits)
        if chosen:
            forecast = self.forecaster.forecast(snapshot, plan, now, self._names)
            for job in chosen:
                eta = forecast.of(job.workload)
                if eta.middle is None:
                    self.unknown += 1
                else:
                    self._given[job.trace.id] = (now, eta)

    def _came_true(self, id_: str, now: float) -> None:
        given = self._given.pop(id_, None)
        if given is None:
            return
        at, eta = given
        assert eta.low is not None
        assert eta.middle is not None
        assert eta.high is not None
        outcome = Outcome(eta.low - at, eta.middle - at, eta.high - at, now - at)
        self.outcomes.append(outcome)
        self.forecaster.errors.add(outcome)

    def counted(self) -> Foretold:
        """How good the ranges were."""
        outcomes = self.outcomes
        if not outcomes:
            return Foretold(unknown=self.unknown)
        off = sorted(abs(outcome.real - outcome.middle) for outcome in outcomes)
        wide = sorted(outcome.high - outcome.low for outcome in outcomes)
        return Foretold(
            given=len(outcomes),
            unknown=self.unknown,
            covered=sum(outcome.inside for outcome in outcomes) / len(outcomes),
            early=sum(outcome.real < outcome.low for outcome in outcomes) / len(outcomes),
            late=sum(outcome.real > outcome.high for outcome in outcomes) / len(outcomes),
            median_error=quantile(off, 0.5),
            median_width=quantile(wide, 0.5),
        )
