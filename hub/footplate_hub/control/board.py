"""Every job that has not ended, in memory and in step with the store: what waits, what runs, what is free.

A pass of the queue takes its snapshot from here instead of reading thousands of rows. The board decides
nothing and writes nothing; after each stored turn of a job it is told to `sync`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from footplate_spec import (
    JOB_FINAL,
    Group,
    Hold,
    JobSpec,
    JobState,
    Node,
    QueuePolicy,
    Reason,
    ReasonCode,
)

from ..queue.budgets import Budgets
from ..queue.model import (
    Amount,
    ClusterModel,
    GroupModel,
    Line,
    NodeModel,
    Placement,
    Price,
    Running,
    Shape,
    Snapshot,
    Workload,
)
from ..queue.quota import lineage
from ..queue.verdicts import Verdicts
from ..settings import Settings
from ..store.attempts import AttemptRecord
from ..store.blocks import Blocks
from .accounts import Accounts
from .budgets import with_budgets
from .dependencies import Dependencies, never_satisfied, waiting_for_jobs
from .groups import group_model, policy_model
from .life import Key, Life
from .lines import WaitingLine
from .ranks import Meeting
from .specs import amount, outline, read_spec
from .spending import Spending

__all__ = ["Board", "LiveJob"]


@dataclass(eq=False, slots=True)
class LiveJob:
    """A job in hand. ``lock`` is held while a turn is decided and stored.

    Parameters
    ----------
    heard
        Monotonic time of the last word from each replica of the attempt.
    since
        When it was taken in hand: before, it may have been heard of by a service that is no more.
    """

    life: Life
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    heard: dict[Key, float] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)
    stopping_since: float | None = None
    workload: Workload | None = None
    meeting: Meeting = field(default_factory=Meeting)
    _changed: asyncio.Event | None = None  # made for whoever waits, which for most jobs is nobody
    _read: tuple[str, JobSpec] | None = None

    @property
    def id(self) -> str:
        """The job's id."""
        return self.life.job.id

    @property
    def changed(self) -> asyncio.Event:
        """Set once what its agents are to do may have changed; after that, it is another one."""
        if self._changed is None:
            self._changed = asyncio.Event()
        return self._changed

    @property
    def spec(self) -> JobSpec:
        """What it asks for, read when it is asked for: of tens of thousands that wait it rarely is."""
        text = self.life.job.spec
        if self._read is None or self._read[0] is not text:
            self._read = text, read_spec(text)
        return self._read[1]

    def notify(self) -> None:
        """Let agents that wait look again."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None


class Board:
    """All live jobs, by job and by attempt."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._regions = {cluster.name: cluster.region or "" for cluster in settings.clusters}
        self._groups = {group.name: group_model(group) for group in settings.groups}
        self._budgets = {group.name: group.budget for group in settings.groups if group.budget}
        self.prices = {
            flavor: Price(price.gpu_hour, price.core_hour)
            for flavor, price in settings.prices.flavors.items()
        }
        self.priorities: Mapping[str, int] = settings.priorities
        self._policies = {cluster.name: policy_model(cluster.policy) for cluster in settings.clusters}
        self.jobs: dict[str, LiveJob] = {}
        self.attempts: dict[str, LiveJob] = {}
        self.lines: dict[tuple[str, Shape], WaitingLine] = {}
        self._frozen: dict[tuple[str, Shape], Line] = {}  # each line as the pass before saw it
        self._stirred: set[tuple[str, Shape]] = set()  # lines that changed since
        self.said: Verdicts | None = None  # by the last pass
        self.running: dict[str, Running] = {}
        self._gpus: dict[str, list[tuple[tuple[str, str], int]]] = {}  # attempt -> node, number
        self._taken: dict[tuple[str, str], set[int]] = {}  # of each node, numbers of its GPUs
        self._nodes: dict[tuple[str, str], Node] = {}
        self._models: tuple[NodeModel, ...] = ()
        self._held_clusters: dict[str, Reason] = {}
        self.blocks = Blocks()
        self.dependencies = Dependencies()
        self.accounts = Accounts()
        self.spending = Spending()
        self.runs: dict[str, set[str]] = {}  # of each array, those that have not ended
        self.told: set[str] = set()  # jobs that heard how another ended, since the last pass
        self.hopeless: set[str] = set()  # jobs that wait for an outcome which can no longer come

    # Nodes

    def set_nodes(self, nodes: Iterable[Node], blocks: Blocks) -> None:
        """Replace what is known of machines."""
        self.blocks = blocks
        self._nodes = {(node.cluster, node.name): _with_block(node, blocks) for node in nodes}
        self._models = tuple(
            NodeModel(
                cluster=node.cluster,
                name=node.name,
                flavor=node.flavor,
                capacity=Amount(node.cpu, node.memory, node.gpu),
                address=node.address,
                labels=node.labels,
                levels=tuple(node.levels),
                taints=tuple((taint.key, taint.value, taint.effect) for taint in node.taints),
                extended=node.extended,
                unusable=_unusable(node),
            )
            for node in self._nodes.values()
        )

    def set_groups(self, groups: Iterable[Group]) -> None:
        """Replace what is known of quotas, budgets and what one person may have."""
        groups = list(groups)
        self._budgets = {group.name: group.budget for group in groups if group.budget}
        held = {name: model.held for name, model in self._groups.items() if model.held is not None}
        models = {name: GroupModel(name) for name in held} | {g.name: group_model(g) for g in groups}
        self._groups = {name: replace(model, held=held.get(name)) for name, model in models.items()}

    def set_policies(self, priorities: Mapping[str, int], clusters: Mapping[str, QueuePolicy]) -> None:
        """Replace what is known of priorities and of clusters' policies, for those who wait and run, too."""
        self._policies = {name: policy_model(policy) for name, policy in clusters.items()}
        if priorities == self.priorities:
            return
        self.priorities = priorities
        for live in list(self.jobs.values()):
            self.sync(live)
            self.began(live)

    def set_holds(self, holds: Iterable[Hold]) -> None:
        """Replace what is known of groups and clusters where nothing starts for now."""
        by_kind: dict[str, dict[str, Hold]] = {"group": {}, "cluster": {}}
        for hold in holds:
            by_kind[hold.kind][hold.name] = hold
        groups = {name: GroupModel(name) for name in by_kind["group"]} | self._groups
        self._groups = {name: _held(model, by_kind["group"]) for name, model in groups.items()}
        self._held_clusters = {name: _hold_reason(hold) for name, hold in by_kind["cluster"].items()}

    def held(self, group: str, cluster: str) -> Reason | None:
        """Why nothing of a group starts on a cluster for now, if so."""
        for name in lineage(group):
            model = self._groups.get(name)
            if model is not None and model.held is not None:
                return model.held
        return self._held_clusters.get(cluster)

    @property
    def node_models(self) -> tuple[NodeModel, ...]:
        """Machines as the queue sees them."""
        return self._models

    @property
    def groups(self) -> Mapping[str, GroupModel]:
        """Groups and their quotas as the queue sees them."""
        return self._groups

    def node(self, cluster: str, name: str) -> Node | None:
        """One machine, without its use."""
        return self._nodes.get((cluster, name))

    def usable(self, cluster: str, name: str) -> bool:
        """Whether something may start there."""
        node = self._nodes.get((cluster, name))
        return node is not None and node.ready and node.blocked is None

    def evicting(self, cluster: str, name: str) -> str | None:
        """Why what runs on a node must go, if so."""
        node = self._nodes.get((cluster, name))
        return node.blocked if node is not None and not node.draining else None

    def nodes(self) -> list[Node]:
        """All machines, with what is in use."""
        used: dict[tuple[str, str], Amount] = {}
        for attempt in self.running.values():
            for placement in attempt.placements:
                key = (placement.cluster, placement.node)
                used[key] = used.get(key, Amount()) + placement.need
        return [
            node.model_copy(
                update={
                    "used_cpu": used.get(key, Amount()).cpu,
                    "used_memory": used.get(key, Amount()).memory,
                    "used_gpu": used.get(key, Amount()).gpu,
                }
            )
            for key, node in self._nodes.items()
        ]

    def free_gpus(self, cluster: str, name: str) -> list[int]:
        """Numbers of a node's GPUs that no attempt holds."""
        node = self._nodes[cluster, name]
        taken = self._taken.get((cluster, name), set())
        return [number for number in range(node.gpu) if number not in taken]

    # Jobs

    def sync(self, live: LiveJob) -> None:
        """Bring the indexes in step with a job's life."""
        life, job = live.life, live.life.job
        self.hopeless.discard(job.id)
        if job.parent is not None:
            self._sync_run(job.parent, job.id, ended=job.state in JOB_FINAL)
        if job.state in JOB_FINAL:
            self.jobs.pop(job.id, None)
            self.dependencies.forget(job.id)
        else:
            self.jobs[job.id] = live
            if not life.live and never_satisfied(self.dependencies.of(job.id)) is not None:
                self.hopeless.add(job.id)
        # An array does not run itself; its runs do.
        asks = outline(job.spec) if job.state is JobState.QUEUED else None
        workload = self._workload(live, asks.shape) if asks is not None and not asks.array else None
        if workload != live.workload:
            self._stop_waiting(live)
            if workload is not None:
                key = (workload.group, workload.shape)
                line = self.lines.get(key)
                if line is None:
                    line = self.lines[key] = WaitingLine(*key)
                line.add(workload)
                self._stirred.add(key)
                live.workload = workload
        if life.attempt is not None:
            self._sync_attempt(live, life.attempt)

    def _sync_run(self, array: str, run: str, *, ended: bool) -> None:
        runs = self.runs.setdefault(array, set())
        if not ended:
            runs.add(run)
            return
        runs.discard(run)
        if not runs:
            del self.runs[array]

    def _sync_attempt(self, live: LiveJob, attempt: AttemptRecord) -> None:
        life, job = live.life, live.life.job
        self.attempts[attempt.id] = live
        if attempt.ended is not None:
            ran = self.running.pop(attempt.id, None)
            if ran is not None:
                self.accounts.add(ran.group, ran.gpus, ran.started, attempt.ended, attempt.ended)
                if attempt.started is not None:
                    self.spending.add(ran.group, attempt.gpu, attempt.price, attempt.started, attempt.ended)
            for node, number in self._gpus.pop(attempt.id, ()):
                self._taken[node].discard(number)
        elif attempt.id in self.running:
            if self.running[attempt.id].stopping != _stopping(job.stopping):
                self.running[attempt.id] = replace(self.running[attempt.id], stopping=_stopping(job.stopping))
        else:
            self.running[attempt.id] = self._running(live)
            rows = life.replicas.values()
            taken = [((attempt.cluster, row.node), number) for row in rows for number in row.gpus]
            self._gpus[attempt.id] = taken
            for node, number in taken:
                self._taken.setdefault(node, set()).add(number)

    def ended(self, upstream: str, state: JobState) -> None:
        """Let those who wait for a job know how it ended."""
        for job in self.dependencies.ended(upstream, state):
            if job in self.jobs:
                self.sync(self.jobs[job])
                self.told.add(job)

    def began(self, live: LiveJob) -> None:
        """Its processes run, or its limit or priority changed: what the queue knows of it is known anew."""
        attempt = live.life.attempt
        if attempt is not None and attempt.id in self.running:
            job = live.life.job
            self.running[attempt.id] = replace(
                self.running[attempt.id],
                ends=_ends(attempt.started, job.time_limit),
                time_limit=job.time_limit,
                priority=self.priorities.get(job.priority, 0),
            )

    def saved(self, attempt: str, when: float) -> None:
        """An attempt saved what it did: less is lost if it is stopped."""
        running = self.running.get(attempt)
        if running is not None and when > max(running.saved or 0.0, running.started):
            self.running[attempt] = replace(running, saved=min(when, time.time()))

    def forget(self, attempt: str) -> None:
        """Nothing of an attempt is left anywhere."""
        live = self.attempts.get(attempt)
        if live is not None and not (
            live.life.live and live.life.attempt and live.life.attempt.id == attempt
        ):
            del self.attempts[attempt]

    def snapshot(self, held: Reason | None) -> Snapshot:
        """The world for one pass; ``held``: why nothing starts on any cluster."""
        return Snapshot(
            nodes=self._models,
            lines=self._frozen_lines(),
            running=tuple(self.running.values()),
            groups=self._groups_with_budgets(time.time()),
            prices=self.prices,
            clusters={
                name: ClusterModel(
                    name,
                    region=self._regions.get(name, ""),
                    policy=policy,
                    held=self._held_clusters.get(name) or held,
                )
                for name, policy in self._policies.items()
            },
        )

    def _frozen_lines(self) -> tuple[Line, ...]:
        """All lines; those that nobody joined or left are the objects that the pass before saw."""
        for key in self._stirred:
            line = self.lines.get(key)
            if line is None:
                self._frozen.pop(key, None)
            else:
                self._frozen[key] = line.frozen
        self._stirred.clear()
        return tuple(self._frozen.values())

    def _groups_with_use(self) -> Mapping[str, GroupModel]:
        """Groups with what they used lately, where anybody is ordered by that."""
        policies = [group.policy for group in self._groups.values()]
        policies += self._policies.values()
        if not any(policy is not None and policy.order != "fifo" for policy in policies):
            return self._groups
        running = [(attempt.group, attempt.gpus, attempt.started) for attempt in self.running.values()]
        used = self.accounts.at(running, time.time())
        unknown = {name: GroupModel(name) for name in used if name not in self._groups}
        return {
            name: replace(group, used=used.get(name, 0.0)) for name, group in (unknown | self._groups).items()
        }

    def budgets(self) -> Budgets:
        """What is used and reserved of every budget now."""
        now = time.time()
        return Budgets(self._groups_with_budgets(now), self.prices, self.running.values(), now)

    def _groups_with_budgets(self, now: float) -> Mapping[str, GroupModel]:
        currency = self._settings.prices.currency
        return with_budgets(self._groups_with_use(), self._budgets, self.spending, currency=currency, now=now)

    def reason(self, live: LiveJob) -> Reason | None:
        """Why a job in a line does not start, as of the last pass; none if that has not seen it."""
        if live.workload is None:
            return None
        number = self.said.find(live.workload) if self.said is not None else None
        return live.workload.waits if self.said is None or number is None else self.said.reason(number)

    def waits_for_jobs(self, job: str) -> bool:
        """Whether others must end before a job may start."""
        return waiting_for_jobs(self.dependencies.of(job)) is not None

    def waits(self, job: str) -> bool:
        """Whether a job is in a line."""
        live = self.jobs.get(job)
        return live is not None and live.workload is not None

    def _stop_waiting(self, live: LiveJob) -> None:
        if live.workload is None:
            return
        key = (live.workload.group, live.workload.shape)
        line = self.lines[key]
        line.remove(live.workload)
        self._stirred.add(key)
        if not line.workloads:
            del self.lines[key]
        live.workload = None

    def _workload(self, live: LiveJob, shape: Shape) -> Workload:
        job = live.life.job
        priority = self.priorities.get(job.priority, 0)
        return Workload(
            job.id,
            job.group,
            priority,
            job.place,
            shape,
            job.time_limit,
            owner=job.owner,
            owed=job.owed,
            waits=waiting_for_jobs(self.dependencies.of(job.id)),
        )

    def _running(self, live: LiveJob) -> Running:
        attempt, job = live.life.attempt, live.life.job
        assert attempt is not None
        needs = {role.name: amount(role.resources) for role in live.spec.roles}
        return Running(
            id=attempt.id,
            group=job.group,
            placements=tuple(
                Placement(row.role, row.index, attempt.cluster, row.node, row.flavor, needs[row.role])
                for row in live.life.replicas.values()
            ),
            priority=self.priorities.get(job.priority, 0),
            ends=_ends(attempt.started, job.time_limit),
            time_limit=job.time_limit,
            started=attempt.created,
            owner=job.owner,
            stopping=_stopping(job.stopping),
            # What may never run again is never stopped for others.
            preemptible=live.spec.recovery.max_restarts > 0,
            cost=attempt.price,
        )


def _with_block(node: Node, blocks: Blocks) -> Node:
    block = blocks.of(node.cluster, node.name, node.address)
    said = (
        {"blocked": block.why, "draining": not block.evict} if block else {"blocked": None, "draining": False}
    )
    return node.model_copy(update=said)


def _unusable(node: Node) -> str | None:
    if node.blocked is not None:
        return f"{'draining' if node.draining else 'blocked'}: {node.blocked}"
    return None if node.ready else "not ready"


def _held(model: GroupModel, holds: Mapping[str, Hold]) -> GroupModel:
    hold = holds.get(model.name)
    return replace(model, held=_hold_reason(hold) if hold else None)


def _hold_reason(hold: Hold) -> Reason:
    what = "of group" if hold.kind == "group" else "on cluster"
    end = "" if hold.why.endswith((".", "!", "?")) else "."
    return Reason(
        code=ReasonCode.HELD,
        message=f"Nothing {what} {hold.name} starts for now: {hold.why}{end}",
        numbers={"by": hold.by, "since": hold.since.timestamp()},
    )


def _stopping(stopping: str | None) -> bool:
    """Whether an attempt is on its way out of its nodes; a gang that starts again stays on them."""
    return stopping not in {None, "gang"}


def _ends(began: float | None, time_limit: int) -> float | None:
    return began + time_limit if began and time_limit else None
