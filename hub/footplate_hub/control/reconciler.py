"""Makes engines have what the store wants: applies attempts, sees keepers end, removes what is over.

Level-triggered. Applying again is always safe, so after a restart of the service every living attempt is
applied, and whenever a keeper is found dead its attempt is: the next keeper finds out what became of the
process and its agent reports it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from footplate_spec import REPLICA_FINAL, Cause, CauseCode, JobSpec, ReplicaState

from ..engines import Attempt, Complaint, Engine, EngineError, NodesChanged, Observation, PlacedReplica
from ..store.attempts import AttemptRecord, JobRecord, ReplicaRecord
from .board import Board, LiveJob
from .claims import GONE, lose_holder
from .course import lose
from .life import Key, Turn
from .recorder import Recorder
from .turns import Turns

__all__ = ["Reconciler"]

log = logging.getLogger(__name__)
_TRIES = 4
_PAUSE_FIRST, _PAUSE_LAST, _PAUSE_REMOVING = 0.1, 5.0, 60.0
_CONFIRMED = 30.0  # seconds in which an engine confirms that what it killed is dead, if its node lives
_MOST_DEATHS = 6  # of a keeper in a row, without a word from its agent


class Reconciler:
    """One a service, over all engines."""

    def __init__(self, engines: Mapping[str, Engine], board: Board, turns: Turns, recorder: Recorder) -> None:
        self._engines = engines
        self._board = board
        self._turns = turns
        self._recorder = recorder
        self._tasks: set[asyncio.Task[None]] = set()
        self._applying: dict[str, asyncio.Lock] = {}
        self._removing: set[str] = set()
        self._giving_up: set[str] = set()
        self.waiting: set[str] = set()  # attempts that an engine does not take yet, for no fault of theirs
        self._over: deque[str] = deque(maxlen=1024)
        self._deaths: dict[tuple[str, Key], int] = {}
        self.on_nodes: Callable[[], Coroutine[Any, Any, None]] = _nothing

    async def stop(self) -> None:
        """Stop working. What was begun is found again."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def heard(self, attempt: str, key: Key) -> None:
        """An agent spoke: its keeper keeps well."""
        self._deaths.pop((attempt, key), None)

    def apply(self, live: LiveJob, after: float = 0.0) -> None:
        """Have the engine run what a job's attempt wants, soon."""
        self._spawn(self._apply(live, after))

    def remove(
        self, job: JobRecord, spec: JobSpec, attempt: AttemptRecord, rows: list[ReplicaRecord]
    ) -> None:
        """Have the engine let go of an attempt that is over."""
        if attempt.id not in self._removing:
            self._removing.add(attempt.id)
            self._spawn(self._remove(attempt.cluster, _attempt(job, spec, attempt, rows)))

    def forget(self, owner: str, jobs: Iterable[str]) -> None:
        """Have the engines remove what deleted jobs kept."""
        for job in jobs:
            for engine in self._engines.values():
                self._spawn(engine.forget(job, owner))

    async def watch(self, cluster: str) -> None:
        """Follow what an engine sees, for ever."""
        async for seen in self._engines[cluster].observe():
            if isinstance(seen, NodesChanged):
                await self.on_nodes()
            elif isinstance(seen, Complaint):
                if seen.attempt in self._board.attempts:
                    await self._tell(self._board.attempts[seen.attempt], seen, over=False)
            elif seen.attempt in self._over:
                continue  # the last sight of what was just removed
            elif seen.attempt not in self._board.attempts:
                # The board had every attempt that an engine may hold before anything was observed.
                self._spawn(self._forget_stray(cluster, seen))
            elif seen.holder is not None:
                await self._heard_of(seen, seen.holder)
            elif not seen.alive:
                self._died(seen)

    async def _heard_of(self, seen: Observation, holder: str) -> None:
        """An engine that makes replicas again by itself tells of one incarnation."""
        live = self._board.attempts[seen.attempt]
        key = (seen.role, seen.index)
        row = live.life.replicas.get(key)
        if not seen.alive and row is not None and row.holder is None and row.state is ReplicaState.PENDING:
            self._apply_after_death(live, seen, at_once=False)

        def decide(turn: Turn) -> None:
            row = turn.replicas.get(key)
            if not turn.before.live or turn.attempt is None or turn.attempt.id != seen.attempt or row is None:
                return
            if not seen.alive:
                lose_holder(turn, key, holder, seen.cause or GONE)
            elif row.state is ReplicaState.PENDING and row.message != seen.message:
                turn.set_replica(row, message=seen.message)

        await self._turns.take(live, decide)

    async def _forget_stray(self, cluster: str, seen: Observation) -> None:
        """Remove what the store knows nothing of: its job was deleted before its folder was."""
        replica = PlacedReplica(seen.role, seen.index, node="")
        stray = Attempt(seen.attempt, "", 0, "", "", JobSpec(command=["true"]), 0, (replica,))
        await self._engines[cluster].delete(stray)

    def give_up(self, live: LiveJob, cause: Cause, *, again: bool) -> None:
        """End an attempt from outside, soon: whatever of it lives is killed, then recorded as lost."""
        attempt = live.life.attempt
        if attempt is not None and attempt.ended is None and attempt.id not in self._giving_up:
            self._giving_up.add(attempt.id)
            self._spawn(self._give_up(live, attempt, cause, again=again))

    async def _give_up(self, live: LiveJob, attempt: AttemptRecord, cause: Cause, *, again: bool) -> None:
        try:
            rows = list(live.life.replicas.values())
            whole = _attempt(live.life.job, live.spec, attempt, rows)
            deleting = asyncio.create_task(self._delete(attempt.cluster, whole, patience=0.0))
            # What will not run again need not be known to be dead; `remove` goes on with that.
            final = live.life.job.stopping in {"cancelled", "finished"}
            done, _ = await asyncio.wait({deleting}, timeout=_CONFIRMED if final else None)
            for task in done:
                task.result()
        finally:
            deleting.cancel()
            self._giving_up.discard(attempt.id)

        def decide(turn: Turn) -> None:
            if turn.attempt is None or turn.attempt.id != attempt.id:
                return
            for row in list(turn.replicas.values()):
                lose(turn, row, cause)
            if not again and turn.job.stopping is None:
                turn.job = replace(turn.job, cause=cause)
                turn.note_failure(cause)
                turn.stop("finished")

        await self._turns.take(live, decide)

    async def fence(self, live: LiveJob, cluster: str, key: Key, holder: str, cause: Cause) -> None:
        """Go on without an incarnation whose agent has surely ended it."""
        self._engines[cluster].fence(holder)
        await self._turns.take(live, lambda turn: lose_holder(turn, key, holder, cause))

    def _died(self, seen: Observation) -> None:
        live = self._board.attempts.get(seen.attempt)
        if (
            live is None
            or not live.life.live
            or live.life.attempt is None
            or live.life.attempt.id != seen.attempt
        ):
            return
        row = live.life.replicas.get((seen.role, seen.index))
        if row is not None and row.state not in REPLICA_FINAL:
            self._apply_after_death(live, seen, at_once=True)

    def _apply_after_death(self, live: LiveJob, seen: Observation, *, at_once: bool) -> None:
        """Have a replica made again whose keeper died; ``at_once``: without a pause at the first time."""
        deaths = self._count_death(live, seen) - at_once
        if deaths >= 0:
            self.apply(live, after=_pause(deaths) if deaths else 0.0)

    def _count_death(self, live: LiveJob, seen: Observation) -> int:
        """How often a replica died in a row without a word; -1: so often that it is given up."""
        key = (seen.attempt, (seen.role, seen.index))
        deaths = self._deaths[key] = self._deaths.get(key, 0) + 1
        log.warning("the keeper of %s %s-%d died", seen.attempt, seen.role, seen.index)
        if deaths < _MOST_DEATHS:
            return deaths
        del self._deaths[key]
        why = f": {seen.cause.message}" if seen.cause else "; see agent.log there."
        message = f"Its keeper ended {deaths} times before its agent could say a word{why}"
        self.give_up(live, Cause(code=CauseCode.PLATFORM_FAULT, message=message), again=True)
        return -1

    async def _apply(self, live: LiveJob, after: float) -> None:
        await asyncio.sleep(after)
        attempt = live.life.attempt
        if attempt is None:
            return
        lock = self._applying.setdefault(attempt.id, asyncio.Lock())
        async with lock:
            try:
                await self._apply_until_taken(live, attempt.id)
            finally:
                self.waiting.discard(attempt.id)

    async def _apply_until_taken(self, live: LiveJob, attempt: str) -> None:
        for tries in itertools.count():
            life = live.life
            if not life.live or life.attempt is None or life.attempt.id != attempt:
                return
            if attempt in self._giving_up:
                return
            rows = [row for row in life.replicas.values() if row.state not in REPLICA_FINAL]
            wanted = _attempt(life.job, live.spec, life.attempt, list(life.replicas.values()), rows)
            try:
                await self._engines[life.attempt.cluster].apply(wanted)
            except EngineError as error:
                log.warning("%s cannot be started: %s", attempt, error)
                if error.waits:
                    self.waiting.add(attempt)
                    await self._tell(live, Complaint(attempt, None, str(error)), over=True)
                elif not error.again or tries >= _TRIES - 1:
                    self.give_up(live, Cause(code=error.code, message=str(error)), again=error.again)
                    return
                await asyncio.sleep(_pause(min(tries, _TRIES + 2)))
            else:
                return

    async def _tell(self, live: LiveJob, said: Complaint, *, over: bool) -> None:
        """Let replicas that have not begun say what they wait for; ``over``: whatever they say by now."""

        def decide(turn: Turn) -> None:
            if turn.attempt is None or turn.attempt.id != said.attempt:
                return
            for row in list(turn.replicas.values()):
                waits = row.state is ReplicaState.PENDING and said.role in {None, row.role}
                if waits and row.message != said.message and (over or not row.message):
                    turn.set_replica(row, message=said.message)

        await self._turns.take(live, decide)

    async def _delete(self, cluster: str, attempt: Attempt, *, patience: float) -> None:
        """Have an engine let go of an attempt, however long that takes."""
        engine = self._engines.get(cluster)
        for tries in itertools.count():
            try:
                if engine is not None:
                    await engine.delete(attempt, patience=patience)
            except (EngineError, OSError) as error:
                log.warning("%s cannot be removed yet: %s", attempt.id, error)
                await asyncio.sleep(min(_PAUSE_FIRST * 2 ** min(tries, 20), _PAUSE_REMOVING))
            else:
                return

    async def _remove(self, cluster: str, attempt: Attempt) -> None:
        await self._delete(cluster, attempt, patience=10.0)
        self._recorder.removed(attempt.id)
        self._over.append(attempt.id)
        self._removing.discard(attempt.id)
        self._applying.pop(attempt.id, None)
        self._board.forget(attempt.id)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("reconciling failed; the next look tries again", exc_info=error)


async def _nothing() -> None:
    """Nobody wants to know."""


def _pause(tries: int) -> float:
    return min(_PAUSE_FIRST * 2.0**tries, _PAUSE_LAST)


def _attempt(
    job: JobRecord,
    spec: JobSpec,
    attempt: AttemptRecord,
    admitted: Sequence[ReplicaRecord],
    rows: Sequence[ReplicaRecord] | None = None,
) -> Attempt:
    """An attempt with the replicas that were admitted, of which ``rows`` are meant; unset: all."""
    return Attempt(
        id=attempt.id,
        job=job.id,
        number=attempt.number,
        owner=job.owner,
        group=job.group,
        spec=spec.sized(Counter(row.role for row in admitted)),
        time_limit=job.time_limit,
        replicas=tuple(
            PlacedReplica(row.role, row.index, row.node, row.gpus, row.execution)
            for row in (admitted if rows is None else rows)
        ),
    )
