"""The one door to the loops that move the world: everything the API asks of them goes through here."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from footplate_spec import (
    JOB_FINAL,
    BudgetShare,
    BudgetUse,
    Claim,
    Desired,
    Eta,
    EventKind,
    Granted,
    Group,
    JobState,
    Node,
    QuotaUse,
    Reason,
    ReasonCode,
    Report,
)

from ..engines import Engine, make_engine
from ..queue.verdicts import CODES
from ..settings import Settings
from ..store import Database, attempts, spending
from ..store.leader import LeaderLock, LeadersDatabase
from ..tokens import ReplicaId, ReplicaTokens
from .accounts import HALF_LIFE
from .board import Board, LiveJob
from .budgets import budget_shares, budget_use, overspent
from .claims import grant
from .context import Refused, ReplicaContext
from .course import hear
from .dependencies import waiting_for_jobs
from .dispatcher import Dispatcher
from .foresight import Foresight
from .life import Life, Turn
from .live_groups import LiveGroups
from .live_policies import LivePolicies
from .maintenance import Maintenance
from .reconciler import Reconciler
from .recorder import Recorder
from .silence import lost_reason
from .specs import outline, read_spec
from .spending import PERIODS, period_at
from .turns import Turns
from .usage import quota_use
from .wanted import wanted
from .watchdog import Watchdog

__all__ = ["Control"]

log = logging.getLogger(__name__)
_CLAIM_AGAIN = 5.0  # seconds between looks whether who holds a replica is gone
_LEAD_EVERY = 2.0  # seconds between looks at who leads
_PENDING = Reason(code=ReasonCode.PENDING_EVALUATION, message="The queue has not looked at this job yet.")


class Control:
    """Dispatcher, reconciler and what agents are answered.

    Parameters
    ----------
    database
        Started, with its schema in place.
    engines
        By cluster; unset: as the settings say.

    Attributes
    ----------
    leading
        Whether the loops run here; of several services on one PostgreSQL, one leads.
    lost
        It led and does not any more: it is to be started again.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        tokens: ReplicaTokens,
        engines: dict[str, Engine] | None = None,
    ) -> None:
        self._lock = LeaderLock(database.url)
        self._lead = LeadersDatabase(database)
        self._keeping: asyncio.Task[None] | None = None
        self.leading = False
        self.lost = False
        database = self._database = self._lead
        self._engines: dict[str, Engine] = engines or {
            cluster.name: make_engine(settings, cluster, tokens) for cluster in settings.clusters
        }
        self.groups = LiveGroups(settings, database)
        self.policies = LivePolicies(settings, database, self._regroup)
        self._board = Board(settings)
        self._recorder = Recorder(database)
        self._turns = Turns(self._board, self._recorder, self._follow)
        self._reconciler = Reconciler(self._engines, self._board, self._turns, self._recorder)
        self.foresight = Foresight(database, self._board)
        self._dispatcher = Dispatcher(
            settings,
            database,
            self._board,
            self._turns,
            self._reconciler.apply,
            foresight=self.foresight,
        )
        self.maintenance = Maintenance(
            database, self._engines, self._board, self._turns, self._dispatcher.wake
        )
        self.advice = self._dispatcher.advice
        self._reconciler.on_nodes = self.maintenance.follow
        self._watchdog = Watchdog(database, self._board, self._dispatcher, self._reconciler)
        self._loops: list[asyncio.Task[None]] = []
        self._hung_up = False

    # Beginning and end

    async def start(self) -> None:
        """Begin, if no other service leads; else stand by until none does."""
        await self._read()
        if await self._lock.take():
            await self._begin()
        if not self._lead.sqlite:
            self._keeping = asyncio.create_task(_for_ever("leader", self._keep_the_lead), name="leader")

    async def _keep_the_lead(self) -> None:
        while not self.lost:
            if not self.leading:
                await self._read()
                if await self._lock.take():
                    log.warning("the service that led is gone: this one leads")
                    await self._begin()
            elif not await self._lock.held():
                log.error("this service has lost the lead; it ends its loops and is to be started again")
                self.leading, self.lost = False, True
                await self._end()
            await asyncio.sleep(_LEAD_EVERY)
        await asyncio.Event().wait()

    async def _read(self) -> None:
        await self.groups.read()
        await self.policies.read()

    async def _begin(self) -> None:
        """Find again what runs, and begin."""
        await self._lead.begin()
        for engine in self._engines.values():
            await engine.start()
        self._recorder.start()
        self._board.set_groups(self.groups.all.values())
        self._board.set_policies(self.policies.priorities.priorities, self.policies.clusters)
        await self.maintenance.read()
        with _collector_paused():
            await self._find_again()
        await self.maintenance.evict()
        loops: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "dispatcher": self._dispatcher.run,
            "watchdog": self._watchdog.run,
            "foresight": self.foresight.run,
        }
        for cluster in self._engines:
            loops[f"watch {cluster}"] = partial(self._reconciler.watch, cluster)
        self._loops = [asyncio.create_task(_for_ever(name, loop), name=name) for name, loop in loops.items()]
        self._dispatcher.wake(look=True)
        self.leading = True

    def hang_up(self) -> None:
        """Answer every agent that waits for a wish: the service stops."""
        self._hung_up = True
        for live in self._board.jobs.values():
            live.notify()

    async def stop(self) -> None:
        """End the loops; replicas go on."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self.leading:
            self.leading = False
            await self._end()
        await self._lock.drop()

    async def _end(self) -> None:
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self._reconciler.stop()
        await self._recorder.stop()
        for engine in self._engines.values():
            await engine.stop()

    async def _find_again(self) -> None:
        async with self._database.read() as connection:
            self._dispatcher.seen(await attempts.latest_change(connection))
            jobs = {job.id: job for job in await attempts.open_jobs(connection)}
            held = await attempts.unremoved(connection)
            over = {attempt.job for attempt, _ in held} - set(jobs)
            ended = {job.id: job for job in await attempts.read_jobs(connection, over)}
            now = time.time()
            for group, gpus, start, end in await attempts.used_since(connection, now - 5 * HALF_LIFE):
                self._board.accounts.add(group, gpus, start, end, now)
            for period in PERIODS:
                begins, _ = period_at(period, now)
                self._board.spending.load(period, now, await spending.totals(connection, begins))
        found: dict[str, Life] = {job: Life(record) for job, record in jobs.items()}
        for attempt, rows in held:
            record = jobs.get(attempt.job) or ended[attempt.job]
            if attempt.ended is None:
                found[attempt.job] = Life(record, attempt, {(row.role, row.index): row for row in rows})
            else:
                self._reconciler.remove(record, read_spec(record.spec), attempt, rows)
        for life in found.values():
            live = LiveJob(life)
            self._board.dependencies.expect(live.id, outline(life.job.spec).after)
            if life.job.parent is not None or outline(life.job.spec).array:
                self._dispatcher.arrays.due.add(life.job.parent or live.id)
            live.stopping_since = time.monotonic() if life.job.stopping else None
            self._board.sync(live)
            if life.live:
                await self._turns.take(live, lambda turn: None)
                self._reconciler.apply(live)

    def _follow(self, live: LiveJob, before: Life) -> None:
        """Do what a stored turn asks for outside the store."""
        after = live.life
        if before.live and not after.live and before.attempt is not None and after.attempt is not None:
            self._reconciler.remove(after.job, live.spec, after.attempt, list(after.replicas.values()))
            live.heard.clear()
        elif after.live and any(
            row.execution > before.replicas[key].execution
            for key, row in after.replicas.items()
            if key in before.replicas
        ):
            self._reconciler.apply(live)
        if after.job.state in JOB_FINAL:
            self._board.ended(live.id, after.job.state)
        if (after.job.parent or live.spec.array) and (after.job.state, after.job.stopping) != (
            before.job.state,
            before.job.stopping,
        ):
            self._dispatcher.arrays.due.add(after.job.parent or live.id)
            self._dispatcher.wake()
        if (before.live, before.job.state, before.job.priority) != (
            after.live,
            after.job.state,
            after.job.priority,
        ):
            self._dispatcher.wake()

    # What people ask for

    async def put_group(self, group: Group, *, seen: str | None, actor: str) -> None:
        """Change a group for good, and let the queue look again; see `LiveGroups.put`."""
        await self.groups.put(group, seen=seen, actor=actor)
        self._regroup()

    async def delete_group(self, name: str, actor: str) -> None:
        """Delete a group, or go back to footplate.yaml; see `LiveGroups.delete`."""
        await self.groups.delete(name, actor)
        self._regroup()

    def _regroup(self) -> None:
        self._board.set_groups(self.groups.all.values())
        self._board.set_policies(self.policies.priorities.priorities, self.policies.clusters)
        self._dispatcher.wake()

    def wake(self) -> None:
        """Look at the store soon: a job was submitted or edited."""
        self._dispatcher.wake(look=True)

    def reason(self, job: str) -> Reason | None:
        """Why a job waits, as of the last pass, or what has been lost of one that runs; none otherwise."""
        live = self._board.jobs.get(job)
        if live is None:
            return None
        if live.life.job.state is JobState.SUSPENDED:
            return _suspended(job)
        if live.life.live:
            return lost_reason(live, time.monotonic())
        if live.spec.array is not None:
            return waiting_for_jobs(self._board.dependencies.of(job)) or self._dispatcher.arrays.reason(live)
        return (self._board.reason(live) or _PENDING) if live.workload is not None else None

    def position(self, job: str) -> tuple[int, list[str]] | None:
        """The place in line, from 1, and the jobs ahead; none when it did not wait in the last pass."""
        live = self._board.jobs.get(job)
        if live is None or live.workload is None or live.workload.waits is not None:
            return None
        ahead = self._board.said.ahead(live.workload) if self._board.said is not None else None
        return None if ahead is None else (len(ahead) + 1, ahead)

    def eta(self, job: str) -> Eta | None:
        """When a job that waits will start; none when it does not wait."""
        live = self._board.jobs.get(job)
        if live is None or live.workload is None:
            return None
        return self.foresight.eta(live.workload)

    def forget(self, owner: str, jobs: Collection[str]) -> None:
        """Remove what deleted jobs kept, soon; what is missed is found again by `kept`."""
        self._reconciler.forget(owner, jobs)

    async def kept(self) -> set[str]:
        """Jobs of which an engine keeps something."""
        return (
            {job for engine in self._engines.values() for job in await engine.kept()}
            if self.leading
            else set()
        )

    def counts(self) -> tuple[int, Counter[str]]:
        """How many attempts run, and how many jobs waited in the last pass, by reason."""
        said = self._board.said
        waiting: Counter[str] = Counter()
        if said is not None:
            codes, counts = np.unique(said.codes, return_counts=True)
            waiting.update({CODES[code].value: int(n) for code, n in zip(codes, counts, strict=True)})
        return len(self._board.running), waiting

    async def cancel(self, job: str, actor: str) -> None:
        """End a job for good.

        Raises
        ------
        Refused
            If it has ended already.
        """

        def decide(turn: Turn) -> None:
            if turn.job.state in JOB_FINAL:
                raise Refused(f"{job} has ended already.")
            if turn.spec.array is not None:
                if turn.job.stopping is None:
                    turn.stop("cancelled", actor=actor)  # its runs first
            elif not turn.before.live:
                turn.finish(JobState.CANCELLED, actor=actor)
            elif turn.job.stopping == "finished":
                raise Refused(f"{job} is ending already.")
            elif turn.job.stopping != "cancelled":
                turn.stop("cancelled", actor=actor)

        await self._turns.take(await self._live(job), decide)

    async def suspend(self, job: str, actor: str) -> None:
        """Stop a job until it is resumed; one run of an array alone, whatever becomes of the others.

        Raises
        ------
        Refused
            If its state does not allow it.
        """

        def decide(turn: Turn) -> None:
            if turn.job.state is JobState.SUSPENDED or turn.job.state in JOB_FINAL:
                raise Refused(f"{job} is {turn.job.state.value} already.")
            if turn.job.stopping not in {None, "gang", "preempted", "evicted"}:
                raise Refused(f"{job} is being stopped already.")
            turn.job = replace(turn.job, alone=turn.job.parent is not None)
            if turn.before.live:
                turn.stop("suspended", actor=actor)
            else:
                turn.move(JobState.SUSPENDED)
                turn.happened(EventKind.JOB_SUSPENDED, actor=actor)

        await self._turns.take(await self._live(job), decide)

    async def resume(self, job: str, actor: str) -> None:
        """Let a suspended job wait in line again.

        Raises
        ------
        Refused
            If it is not suspended, or with its whole array.
        """

        def decide(turn: Turn) -> None:
            array = self._board.jobs.get(turn.job.parent or "")
            if array is not None and array.life.job.state is JobState.SUSPENDED:
                raise Refused(f"{job} is one run of {array.id}, which is suspended; resume that first.")
            if turn.job.state is not JobState.SUSPENDED:
                raise Refused(f"{job} is not suspended; it is {turn.job.state.value}.")
            turn.move(JobState.QUEUED, alone=False)
            turn.happened(EventKind.JOB_RESUMED, actor=actor)

        await self._turns.take(await self._live(job), decide)

    async def extend(self, job: str, time_limit: int, actor: str) -> None:
        """Change the time limit of a job that runs; the caller has checked the group's maximum.

        Raises
        ------
        Refused
            If it does not run, or a budget is short of what it could use more.
        """

        def decide(turn: Turn) -> None:
            if not turn.before.live or turn.job.stopping is not None:
                raise Refused(f"{job} does not run, so it has no limit to extend.")
            self._refuse_to_overspend(turn, time_limit - turn.job.time_limit)
            turn.extend(time_limit, actor)

        await self._turns.take(await self._live(job), decide)

    def _refuse_to_overspend(self, turn: Turn, seconds: int) -> None:
        running = self._board.running.get(turn.attempt.id) if turn.attempt is not None else None
        short = overspent(self._board.budgets(), running, seconds) if running is not None else None
        if short is not None:
            raise Refused(f"{turn.job.id} cannot run so long. {short}")

    async def reprioritise(self, job: str, priority: str, actor: str) -> None:
        """Change the priority of a job that runs.

        Raises
        ------
        Refused
            If it does not run.
        """

        def decide(turn: Turn) -> None:
            if not turn.before.live:
                raise Refused(f"{job} does not run any more; look at it and try again.")
            turn.reprioritise(priority, actor)

        await self._turns.take(await self._live(job), decide)

    async def _live(self, job: str) -> LiveJob:
        """A job in hand, read from the store where nobody had told of it yet."""
        if job not in self._board.jobs:
            async with self._database.read() as connection:
                for row in await attempts.read_jobs(connection, [job]):
                    await self._dispatcher.take_in(row)
        live = self._board.jobs.get(job)
        if live is None:
            raise Refused(f"{job} has ended already.")
        return live

    # Machines

    def nodes(self) -> list[Node]:
        """Every machine, with what is in use."""
        return self._board.nodes()

    def quota_use(self, groups: Collection[str]) -> list[QuotaUse]:
        """Limits, use and demand of these groups on every flavor."""
        return quota_use(self._board, groups)

    def budget_use(self, groups: Collection[str]) -> list[BudgetUse]:
        """What these groups used of their budgets."""
        return budget_use(self._board.budgets(), groups)

    def budget_shares(self, group: str, *, gpu_hours: float, cost: float | None) -> list[BudgetShare]:
        """What a job of a group would take of its budgets."""
        return budget_shares(self._board.budgets(), group, gpu_hours=gpu_hours, cost=cost)

    # Agents

    async def identify(self, replica: ReplicaId) -> ReplicaContext | None:
        """Who a verified token belongs to; none when its attempt has ended."""
        live = self._board.attempts.get(replica.attempt)
        if live is None or not live.life.live or live.life.attempt is None:
            return None
        row = live.life.replicas.get((replica.role, replica.index))
        if row is None or row.attempt != replica.attempt:
            return None
        return ReplicaContext(
            job=live.id,
            owner=live.life.job.owner,
            group=live.life.job.group,
            attempt_number=live.life.attempt.number,
            execution=row.execution,
            spec=live.spec,
            final=row.exit is not None,
        )

    async def report(self, replica: ReplicaId, report: Report) -> Desired:
        """Take in what an agent tells; what it changes is committed before the answer."""
        key = (replica.role, replica.index)
        live = self._board.attempts.get(replica.attempt)
        if live is None:
            return _released(report.execution)
        live.heard[key] = time.monotonic()
        self._reconciler.heard(replica.attempt, key)
        if (saved := report.usage.get("saved")) is not None:
            self._board.saved(replica.attempt, saved)

        def decide(turn: Turn) -> None:
            if turn.before.live and turn.attempt is not None and turn.attempt.id == replica.attempt:
                hear(turn, turn.replicas[key], report)

        await self._turns.take(live, decide)
        return self._wanted(live, replica)

    async def desired(self, replica: ReplicaId, tag: str, wait: float) -> Desired:
        """What is wanted of a replica: now if ``tag`` differs, else after a change or ``wait`` seconds."""
        live = self._board.attempts.get(replica.attempt)
        if live is None:
            return _released(1)
        until = time.monotonic() + wait
        while True:
            changed, answer = live.changed, self._wanted(live, replica)
            left = until - time.monotonic()
            if answer.tag != tag or left <= 0 or self._hung_up:
                return answer
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), left)

    async def claim(self, replica: ReplicaId, asker: Claim, wait: float) -> Granted:
        """Grant one incarnation of a replica the execution that may run; none after ``wait`` seconds."""
        key, until = (replica.role, replica.index), time.monotonic() + wait
        while True:
            live = self._board.attempts.get(replica.attempt)
            if live is None or not live.life.live or live.life.attempt is None:
                return Granted(release=True)
            row, engine = live.life.replicas[key], self._engines[live.life.attempt.cluster]
            gone = row.holder not in {None, asker.holder} and await engine.gone(row.holder or "", row.node)
            if await engine.gone(asker.holder, asker.node):
                return Granted(release=True)  # a pod that was given up and has not noticed yet
            changed, granted = live.changed, list[int | None]()
            await self._turns.take(
                live,
                lambda turn: granted.append(grant(turn, key, asker, gone=gone)),  # noqa: B023
            )
            if granted[0]:
                live.heard[key] = time.monotonic()
            left = until - time.monotonic()
            if granted[0] or left <= 0 or self._hung_up:
                return Granted(execution=granted[0])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), min(left, _CLAIM_AGAIN))

    def _wanted(self, live: LiveJob, replica: ReplicaId) -> Desired:
        attempt = live.life.attempt
        if attempt is None or attempt.id != replica.attempt:
            return _released(1)
        return wanted(live.life, live.spec, (replica.role, replica.index), live.meeting)


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """No garbage collection meanwhile: what is read for good is looked through again and again otherwise."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _suspended(job: str) -> Reason:
    message = f"It is suspended until it is resumed: job.resume(), or footplate jobs resume {job}."
    return Reason(code=ReasonCode.SUSPENDED, message=message)


def _released(execution: int) -> Desired:
    return Desired(tag="released", execution=execution, release=True)


async def _for_ever(name: str, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a loop. One that fails is a mistake of ours: it is told, and the loop begins again."""
    while True:
        try:
            await loop()
        except Exception:
            log.exception("%s failed and begins again", name)
            await asyncio.sleep(1)
