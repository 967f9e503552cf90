"""Runs a pass of the queue whenever something changed, and stores what it admits.

There is no tick in the path: whatever may let a workload start wakes the dispatcher, and wakes that come
while it works make one more pass together. Admissions are written in chunks, no gang split, each against
the very spec that the pass saw.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from footplate_spec import JOB_FINAL, EventKind, JobState, Reason, ReasonCode
from footplate_spec.units import format_bytes

from ..queue.budgets import hourly
from ..queue.memory import Memory
from ..queue.model import Admission, Preemption
from ..queue.schedule import Pass
from ..settings import Settings
from ..store import Database, attempts, dependencies
from ..store.attempts import JobRecord
from ..store.jobs import EDITABLE
from .advice import Advice
from .arrays import Arrays
from .board import Board, LiveJob
from .course import Placed, admit, make_room, settle
from .dependencies import never_satisfied
from .explanations import Explanations
from .foresight import Foresight
from .life import Life, Turn
from .specs import outline
from .turns import Turns

__all__ = ["CHUNK", "Dispatcher"]

CHUNK = 500  # admissions in one transaction
_SUBMITTED = {EventKind.JOB_SUBMITTED.value, EventKind.JOB_EDITED.value}


class Dispatcher:
    """The loop between the board and the queue.

    Parameters
    ----------
    begin
        Called for each job whose attempt was stored.
    foresight
        Told of every pass.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        board: Board,
        turns: Turns,
        begin: Callable[[LiveJob], None],
        *,
        foresight: Foresight,
    ) -> None:
        self._foresight = foresight
        self._settings = settings
        self._database = database
        self._board = board
        self._turns = turns
        self.advice = Advice(settings, board)
        self._memory = Memory()
        self._begin = begin
        self._due = asyncio.Event()
        self._look = False
        self._pass_due = False
        self._seq = 0
        self.arrays = Arrays(database, board, turns, lambda: self.wake(look=True))
        self.explanations = Explanations(database, board)
        self.disk_low: Reason | None = None

    def wake(self, *, look: bool = False) -> None:
        """Pass soon; with ``look``, read from the store what was submitted or edited first."""
        self._pass_due = True
        self._look = self._look or look
        self._due.set()

    def poll(self) -> None:
        """Read from the store what other services took in, and pass if there is any."""
        self._look = True
        self._due.set()

    def seen(self, seq: int) -> None:
        """Everything up to this event is on the board."""
        self._seq = seq

    async def run(self) -> None:
        """Pass, for ever."""
        while True:
            await self._due.wait()
            self._due.clear()
            look, self._look = self._look, False
            try:
                new = await self._read() if look else False
                if new or self._pass_due:
                    self._pass_due = False
                    await self._pass()
            except BaseException:
                self.wake(look=look)  # whoever runs this loop again finds the work still there
                raise

    async def _read(self) -> bool:
        """Take in what is new; whether there was any."""
        async with self._database.read() as connection:
            self._seq, changes = await attempts.changes_since(connection, self._seq)
            ids = [subject for kind, subject in changes if kind in _SUBMITTED]
            rows = await attempts.read_jobs(connection, ids) if ids else []
        for row in rows:
            await self.take_in(row)
        return bool(rows)

    async def take_in(self, row: JobRecord) -> None:
        """Bring a job that waits in step with its row."""
        live = self._board.jobs.get(row.id)
        if live is None:
            if row.state is JobState.QUEUED:
                live = LiveJob(Life(row))
                self._board.dependencies.expect(live.id, outline(row.spec).after)
                self._board.sync(live)
                if row.parent is not None or outline(row.spec).array:
                    self.arrays.due.add(row.parent or row.id)
            return
        async with live.lock:
            if live.life.live or row.state.value not in EDITABLE:
                return
            if live.life.job.spec != row.spec or live.life.job.place != row.place:
                # Its course is ours; what a person may edit is the row's.
                life = live.life
                after = outline(row.spec).after
                if after != outline(life.job.spec).after:
                    self._board.dependencies.expect(live.id, after)
                live.life = Life(_edited(life.job, row), life.attempt, life.replicas)
                self._board.sync(live)

    async def _look_at_ends(self) -> None:
        """Find how jobs ended that others wait for, and end those who can never start."""
        waiting = self._board.dependencies.unread.copy()
        if waiting:
            async with self._database.read() as connection:
                found = await dependencies.read_dependencies(connection, waiting)
            for job in waiting:
                self._board.dependencies.found(job, found.get(job, ()))
                if job in self._board.jobs:
                    self._board.sync(self._board.jobs[job])

        self.arrays.due |= waiting | self._board.told
        self._board.told.clear()

        def decide(turn: Turn) -> None:
            cause = never_satisfied(self._board.dependencies.of(turn.job.id))
            if cause is not None and not turn.before.live and turn.job.state not in JOB_FINAL:
                turn.finish(JobState.CANCELLED, cause)

        for job in list(self._board.hopeless):  # one that ends so may end others: it wakes the next pass
            live = self._board.jobs.get(job)
            if live is not None:
                await self._turns.take(live, decide)

    async def _pass(self) -> None:
        await self._look_at_ends()
        await self.arrays.look()
        self.disk_low = self._low_disk()
        snapshot = self._board.snapshot(self.disk_low)
        current = Pass(snapshot, time.time(), self._memory)
        plan = current.plan()
        self.advice.renew(current.advisor())
        self._foresight.note(snapshot, plan)
        for start in range(0, len(plan.admit), CHUNK):
            await self._admit(plan.admit[start : start + CHUNK])
        await self._make_room(plan.preempt)
        self.explanations.note(current.verdicts)  # who starts does not wait for it
        self.explanations.store_new()

    async def _make_room(self, preemptions: Sequence[Preemption]) -> None:
        for_whom: dict[str, list[Preemption]] = {}
        for preemption in preemptions:
            for_whom.setdefault(preemption.workload, []).append(preemption)
        for job, victims in for_whom.items():
            await self._stop_for(job, victims)

    async def _stop_for(self, job: str, victims: Sequence[Preemption]) -> None:
        """Tell those who must go to save what they did and to end, and let ``job`` go first until it starts.

        One transaction: nobody is stopped for a job that others then pass, whoever dies in between.
        """
        lives = [self._board.jobs.get(job), *(self._board.attempts.get(one.running) for one in victims)]
        known = [live for live in lives if live is not None and not live.lock.locked()]
        if len(known) < len(lives):
            return  # somebody changes one of them just now, and wakes us after
        for live in known:
            await live.lock.acquire()  # free, so this does not wait
        try:
            now = time.time()
            whom, *others = [Turn(live.life, live.spec, now) for live in known]
            stopped = [
                make_room(turn, one.running, why=one.why) for turn, one in zip(others, victims, strict=True)
            ]
            if whom.job.state is not JobState.QUEUED or not any(stopped):
                return
            whom.job = replace(whom.job, owed=True)
            for turn in others:
                settle(turn, self._board.usable)
            changes = [turn.change for turn in (whom, *others) if not turn.change.empty]
            await self._database.write(lambda t: attempts.save(t, changes))
            for live, turn in zip(known, (whom, *others), strict=True):
                self._turns.stored(live, turn)
            self.wake()  # what is being freed is kept from now on, and those who wait are told
        finally:
            for live in known:
                live.lock.release()

    def _low_disk(self) -> Reason | None:
        free = shutil.disk_usage(self._settings.data).free
        if free >= self._settings.limits.disk_free:
            return None
        message = (
            f"Only {format_bytes(free)} are left on the platform's disk; jobs start again when "
            f"{format_bytes(self._settings.limits.disk_free)} are free."
        )
        return Reason(code=ReasonCode.DISK_LOW, message=message)

    async def _admit(self, admissions: tuple[Admission, ...]) -> None:
        turns: dict[str, tuple[LiveJob, Turn]] = {}
        taken: dict[tuple[str, str], int] = {}  # GPUs given out in this chunk
        held: list[asyncio.Lock] = []
        try:
            for admission in admissions:
                live = self._board.jobs.get(admission.workload.id)
                if live is None or live.lock.locked():
                    continue  # somebody changes it just now, and wakes us after
                await live.lock.acquire()  # free, so this does not wait
                held.append(live.lock)
                if live.workload is not admission.workload:
                    continue
                turn = Turn(live.life, live.spec, time.time())
                placed, declared = self._place(admission, taken)
                price = hourly(self._board.prices, ((p.flavor, p.need) for p in admission.placements))
                admit(turn, admission.cluster, placed, declared=declared, price=price)
                turns[live.id] = (live, turn)
            if turns:
                await self._store(turns)
        finally:
            for lock in held:
                lock.release()

    async def _store(self, turns: dict[str, tuple[LiveJob, Turn]]) -> None:
        decided = {job: (live.life.job.spec, turn.change) for job, (live, turn) in turns.items()}
        good = await self._database.write(lambda t: attempts.save_admissions(t, decided))
        for job, (live, turn) in turns.items():
            if job in good:
                self._turns.stored(live, turn)
                self._begin(live)
        if len(good) < len(turns):
            self.wake(look=True)  # edited after the pass saw them

    def _place(self, admission: Admission, taken: dict[tuple[str, str], int]) -> tuple[list[Placed], bool]:
        placed: list[Placed] = []
        declared = False
        for placement in admission.placements:
            numbers: tuple[int, ...] = ()
            if placement.need.gpu:
                key = (placement.cluster, placement.node)
                begin = taken.get(key, 0)
                free = self._board.free_gpus(*key)
                numbers = tuple(free[begin : begin + placement.need.gpu])
                taken[key] = begin + placement.need.gpu
                node = self._board.node(*key)
                declared = declared or (node is not None and node.declared)
            placed.append((placement.role, placement.index, placement.node, placement.flavor, numbers))
        return placed, declared


def _edited(job: JobRecord, row: JobRecord) -> JobRecord:
    return replace(
        job,
        spec=row.spec,
        group=row.group,
        priority=row.priority,
        replicas=row.replicas,
        gpu=row.gpu,
        place=row.place,
        time_limit=row.time_limit,
        owed=row.owed,
    )
