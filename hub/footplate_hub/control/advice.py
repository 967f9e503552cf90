"""What would help a job that waits, and what would become of one that is not submitted.

Changes are tried on what the last pass left, beside the loops: a try may take some milliseconds.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from footplate_spec import JobSpec

from ..queue.advise import Advisor, Fix, Verdict
from ..queue.changes import Freedom
from ..queue.model import Workload
from ..queue.schedule import Pass
from ..settings import Settings
from .board import Board
from .specs import shape_of

__all__ = ["Advice", "Prospective"]


@dataclass(frozen=True)
class Prospective:
    """A job as it would be submitted."""

    spec: JobSpec
    owner: str
    group: str
    time_limit: int


class Advice:
    """Asks the last pass; one question at a time."""

    def __init__(self, settings: Settings, board: Board) -> None:
        self._settings = settings
        self._board = board
        self._advisor: Advisor | None = None
        self._one = asyncio.Lock()

    def renew(self, advisor: Advisor) -> None:
        """A pass is over: what it left is what counts."""
        self._advisor = advisor

    async def fixes(self, job: str, freedom: Freedom) -> tuple[Workload, list[Fix]] | None:
        """Changes that would start a job that waits; none if it does not wait."""
        live = self._board.jobs.get(job)
        if live is None or live.workload is None:
            return None
        workload, advisor = live.workload, self._asked()
        async with self._one:
            return workload, await asyncio.to_thread(advisor.fixes, workload, freedom)

    async def check(self, job: Prospective, freedom: Freedom) -> tuple[Workload, Verdict, list[Fix]]:
        """What would become of a job, behind all others of its priority, and what would start it now."""
        workload = Workload(
            "",
            job.group,
            self._board.priorities.get(job.spec.priority, 0),
            time.time(),
            shape_of(job.spec),
            job.time_limit,
            owner=job.owner,
        )
        advisor = self._asked()

        def ask() -> tuple[Verdict, list[Fix]]:
            verdict = advisor.check(workload)
            return verdict, [] if verdict.starts == "now" else advisor.fixes(
                workload, freedom, verdict=verdict
            )

        async with self._one:
            verdict, fixes = await asyncio.to_thread(ask)
        return workload, verdict, fixes

    def _asked(self) -> Advisor:
        """That of the last pass; where there was none yet, of one that changes nothing."""
        if self._advisor is None:
            current = Pass(self._board.snapshot(None), time.time())
            current.plan()
            self._advisor = current.advisor()
        return self._advisor
