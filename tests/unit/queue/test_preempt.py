"""Who must make room for whom: the rules as tables, the best set by trying all, and no end of swapping."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footplate_hub.queue.fit import feasible, fit
from footplate_hub.queue.model import (
    Amount,
    GroupModel,
    Limit,
    NodeModel,
    Placement,
    Quota,
    Running,
    Workload,
)
from footplate_hub.queue.nodes import Nodes, vector
from footplate_hub.queue.preempt import Sacrifice, Scene, victims
from footplate_hub.queue.quota import Quotas, lineage
from footplate_hub.queue.ways import demand, options
from support.worlds import GI, node, role, workload

GPU = ("local", "gpu")


def attempt(name: str, *on: NodeModel, gpu: int = 1, **extra: Any) -> Running:
    group = extra.pop("group", "research")
    placements = tuple(
        Placement("worker", i, "local", n.name, n.flavor, Amount(100, GI, gpu)) for i, n in enumerate(on)
    )
    return Running(name, group, placements, **extra)


def own(**nominal: int) -> dict[str, GroupModel]:
    return {
        name.replace("_", "/"): GroupModel(name.replace("_", "/"), {GPU: Quota(Limit(gpu=amount))})
        for name, amount in nominal.items()
    }


def scene_of(
    nodes: list[NodeModel], running: list[Running], groups: dict[str, GroupModel], now: float = 1000.0
) -> Scene:
    """The world once all that is stopping is gone."""
    arrays = Nodes(nodes)
    room = arrays.capacity.copy()
    going_on = [attempt for attempt in running if not attempt.stopping]
    for going in going_on:
        for placement in going.placements:
            room[arrays.index["local", placement.node]] -= vector(placement.need)
    return Scene(arrays, room, Quotas(groups, going_on), running, now)


def taken_for(wanted: Workload, scene: Scene) -> Sacrifice | None:
    mask = scene.nodes.allowed(wanted.shape) & scene.nodes.usable
    return victims(
        wanted,
        list(options(scene.nodes, wanted.shape)),
        mask,
        lambda room, option: feasible(scene.nodes, room, mask, wanted.shape, option),
        scene,
    )


def names(found: Sacrifice | None) -> list[str] | None:
    return None if found is None else [preemption.running for preemption in found.preemptions]


A, B = node("a", gpu=4), node("b", gpu=4)


@pytest.mark.parametrize(
    ("running", "taken"),
    [
        ([attempt("low", A, gpu=4)], ["low"]),
        ([attempt("same", A, gpu=4, priority=10)], None),
        ([attempt("below", A, gpu=4, group="research/vision")], ["below"]),
        ([attempt("above", A, gpu=4, group="")], None),
        ([attempt("other", A, gpu=4, group="ops")], None),
        ([attempt("kept", A, gpu=4, preemptible=False)], None),
        ([attempt("ending", A, gpu=4, stopping=True)], []),
        ([attempt("one", A, gpu=2), attempt("other", A, gpu=2, priority=10)], None),
        ([attempt("small", A, gpu=1), attempt("large", A, gpu=2), attempt("s", A, gpu=1)], ["large", "s"]),
    ],
)
def test_a_higher_priority_takes_from_lower_ones_in_its_group_and_below(running, taken):
    wanted = workload("w", role(gpu=4 if taken != ["large", "s"] else 3), priority=10)
    assert names(taken_for(wanted, scene_of([A], running, {}))) == taken


@pytest.mark.parametrize(
    ("running", "taken"),
    [
        ([attempt("x", A, priority=1), attempt("y", A, priority=0)], ["y"]),
        ([attempt("x", A, started=100), attempt("y", A, started=200)], ["y"]),
        ([attempt("x", A, saved=999), attempt("y", A)], ["x"]),
        ([attempt("x", A, gpu=2), attempt("y", A, gpu=1), attempt("z", A, gpu=1)], ["y"]),
    ],
    ids=["lower priority", "younger", "saved", "less"],
)
def test_of_equal_numbers_the_cheapest_goes(running, taken):
    full = [*running, attempt("rest", A, gpu=4 - sum(r.placements[0].need.gpu for r in running), priority=99)]
    scene = scene_of([A], full, {})
    assert names(taken_for(workload("w", role(gpu=1), priority=10), scene)) == taken


def test_fewest_go_before_all_else():
    running = [attempt("x", A, gpu=2, priority=5), attempt("y", A), attempt("z", A)]
    assert names(taken_for(workload("w", role(gpu=2), priority=10), scene_of([A], running, {}))) == ["x"]


def test_a_gang_takes_one_node_and_not_pieces_of_two():
    running = [attempt("x", A, gpu=4), *(attempt(f"y{i}", B) for i in range(4))]
    assert names(taken_for(workload("w", role(gpu=4), priority=10), scene_of([A, B], running, {}))) == ["x"]


def test_borrowed_quota_is_reclaimed_whatever_the_priority_and_no_more_than_was_borrowed():
    groups = own(mine=4, theirs=4)
    running = [attempt(f"r{i}", A if i < 4 else B, group="theirs", priority=50, started=i) for i in range(8)]
    scene = scene_of([A, B], running, groups)
    found = taken_for(workload("w", role(2, gpu=1), group="mine"), scene)
    assert names(found) == ["r6", "r7"]
    assert {p.why for p in found.preemptions} == {"reclaim"}
    assert names(taken_for(workload("w", role(gpu=4), group="mine"), scene)) == ["r4", "r5", "r6", "r7"]
    assert names(taken_for(workload("w", role(5, gpu=1), group="mine"), scene)) is None


def test_nobody_is_taken_whose_group_is_within_its_own_even_if_room_is_all_that_lacks():
    running = [attempt("r", A, gpu=4, group="theirs")]
    assert (
        names(
            taken_for(workload("w", role(gpu=2), group="mine"), scene_of([A], running, own(mine=4, theirs=4)))
        )
        is None
    )
    assert names(
        taken_for(workload("w", role(gpu=2), group="mine"), scene_of([A], running, own(mine=4, theirs=3)))
    ) == ["r"]


def test_quota_that_the_group_itself_uses_is_given_up_by_its_lower_priorities():
    groups = {"research": GroupModel("research", {GPU: Quota(Limit(gpu=2), Limit(gpu=0))})}
    running = [attempt("x", A), attempt("y", A, priority=20)]
    assert names(taken_for(workload("w", role(gpu=1), priority=10), scene_of([A, B], running, groups))) == [
        "x"
    ]
    assert (
        names(taken_for(workload("w", role(gpu=2), priority=10), scene_of([A, B], running, groups))) is None
    )


def test_what_runs_on_a_node_that_is_gone_still_uses_quota_and_may_give_it_up():
    groups = {"research": GroupModel("research", {GPU: Quota(Limit(gpu=2), Limit(gpu=0))})}
    scene = scene_of([A], [attempt("y", A, priority=20)], groups)
    lost = attempt("x", B)
    scene.quotas.take("research", "", lost.placements)
    found = taken_for(workload("w", role(gpu=1), priority=10), replace(scene, running=[*scene.running, lost]))
    assert names(found) == ["x"]


def test_the_way_with_the_fewest_victims_is_chosen():
    old = node("o", gpu=4, flavor="old")
    running = [attempt("x", old, gpu=2), attempt("y", old, gpu=2), attempt("z", A, gpu=4)]
    wanted = workload("w", role(gpu=4, flavors=["old", "gpu"]), priority=10)
    found = taken_for(wanted, scene_of([A, old], running, {}))
    assert (names(found), found.option.flavors) == (["z"], ("gpu",))


def test_a_large_gang_among_hundreds_finds_a_small_set():
    nodes = [node(f"n{i:02}", gpu=8, cpu=64) for i in range(40)]
    running = [
        attempt(f"r{i:02}-{j}", n, gpu=8 if i % 4 == 0 else 1, started=i)
        for i, n in enumerate(nodes)
        for j in range(1 if i % 4 == 0 else 8)
    ]
    found = taken_for(workload("w", role(8, gpu=8), priority=10), scene_of(nodes, running, {}))
    assert names(found) == sorted(f"r{i:02}-0" for i in range(8, 40, 4))


# The best set, by trying all


@st.composite
def worlds(draw):
    nodes = [node(f"n{i}", gpu=draw(st.sampled_from([1, 2, 4]))) for i in range(draw(st.integers(1, 2)))]
    groups = {
        name: GroupModel(
            name,
            {
                GPU: Quota(
                    Limit(gpu=draw(st.integers(0, 4))),
                    Limit(gpu=draw(st.sampled_from([None, None, None, 1]))),
                    Limit(gpu=draw(st.sampled_from([None, None, None, 1]))),
                )
            },
        )
        for name in draw(st.lists(st.sampled_from(GROUPS), unique=True, min_size=1))
    }
    waiting = [
        workload(
            f"w{i}",
            role(draw(st.sampled_from([1, 1, 2])), gpu=draw(st.sampled_from([1, 1, 2])), cpu=0.1),
            group=draw(st.sampled_from(GROUPS)),
            priority=10 * draw(st.integers(0, i)),
            place=float(i),
        )
        for i in range(draw(st.integers(3, 7)))
    ]
    order = draw(st.permutations(GROUPS))
    return nodes, groups, waiting, order


GROUPS = ["a", "a/x", "a/y", "b"]


@dataclass
class World:
    """A queue in which nothing ends by itself; with each pass, one second later, one more arrives."""

    nodes: list[NodeModel]
    groups: dict[str, GroupModel]
    coming: list[Workload]
    order: list[str]
    waiting: list[Workload] = field(default_factory=list)
    running: dict[str, Running] = field(default_factory=dict)
    everyone: dict[str, Workload] = field(default_factory=dict)
    promised: dict[str, tuple[Placement, ...]] = field(default_factory=dict)
    history: list[tuple[str, str]] = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.everyone = {w.id: w for w in self.coming}

    def scene(self) -> Scene:
        return scene_of(self.nodes, list(self.running.values()), self.groups, self.now)

    def step(self) -> bool:
        """One pass, then all that was told to stop is gone and waits again; whether anything happened."""
        before = len(self.history), set(self.running), len(self.coming)
        self.waiting += self.coming[:1]
        self.coming = self.coming[1:]
        self.now += 1.0
        self._pass()
        for name in [name for name, r in self.running.items() if r.stopping]:
            del self.running[name]
            self.waiting.append(self.everyone[name])
        return (len(self.history), set(self.running), len(self.coming)) != before

    def _pass(self) -> None:
        # What was freed for somebody is theirs, place for place, before anybody else is considered.
        for name, placements in self.promised.items():
            self._begin(self.everyone[name], placements)
        self.promised = {}
        future = self.scene()
        free = future.room.copy()
        used = Quotas(self.groups, self.running.values())
        for wanted in sorted(self.waiting, key=lambda w: (self.order.index(w.group), w.rank)):
            room = np.minimum(free, future.room)
            start = self._start(wanted, future, room, [used, future.quotas])
            if start is not None:
                self._begin(wanted, start)
                self._count(start, future, free)
                for quotas in (used, future.quotas):
                    quotas.take(wanted.group, "", start)
                continue
            found = taken_for(wanted, replace(future, running=list(self.running.values())))
            if found is not None:
                self._preempt(wanted, found, future)

    def _start(self, wanted, future, room, quotas) -> tuple[Placement, ...] | None:
        mask = future.nodes.usable
        for option in options(future.nodes, wanted.shape):
            asked = demand(wanted.shape, option)
            if all(q.allows(wanted.group, asked) for q in quotas):
                placements = fit(future.nodes, room, mask, wanted.shape, option)
                if placements is not None:
                    return placements
        return None

    def _begin(self, wanted: Workload, placements: tuple[Placement, ...]) -> None:
        self.waiting.remove(wanted)
        self.running[wanted.id] = Running(
            wanted.id, wanted.group, placements, priority=wanted.priority, started=self.now
        )

    def _preempt(self, wanted: Workload, found: Sacrifice, future: Scene) -> None:
        for preemption in found.preemptions:
            gone = self.running[preemption.running]
            self.history.append((wanted.id, gone.id))
            self.running[gone.id] = replace(gone, stopping=True)
            future.quotas.release(gone.group, "", gone.placements)
            for placement in gone.placements:
                future.room[future.nodes.index["local", placement.node]] += vector(placement.need)
        kept = fit(future.nodes, future.room, future.nodes.usable, wanted.shape, found.option)
        assert kept is not None
        future.quotas.take(wanted.group, "", kept)
        self._count(kept, future)
        self.promised[wanted.id] = kept

    def _count(self, placements, future, *rooms) -> None:
        for placement in placements:
            row = future.nodes.index["local", placement.node]
            for room in (future.room, *rooms):
                room[row] -= vector(placement.need)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(worlds())
def test_nobody_swaps_for_ever_and_nobody_takes_back(world):
    state = World(*world)
    for _ in range(6 * len(state.everyone)):
        if not state.step():
            break
    else:
        pytest.fail(f"it never comes to rest: {state.history}")
    assert not state.promised
    pairs = set(state.history)
    assert len(pairs) == len(state.history)
    assert not any((victim, preemptor) in pairs for preemptor, victim in pairs)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(worlds(), st.integers(0, 3))
def test_the_set_is_the_best_of_all_that_the_rules_allow(world, steps):
    nodes, groups, coming, order = world
    *others, last = coming
    state = World(nodes, groups, others, order)
    for _ in range(len(others) + steps):
        state.step()
    scene = state.scene()
    found = names(taken_for(last, scene))
    sets = [
        chosen
        for count in range(len(state.running) + 1)
        for chosen in itertools.combinations(sorted(state.running), count)
        if _suffices(last, chosen, state)
    ]
    if not sets:
        assert found is None
        return
    best = min(sets, key=lambda chosen: _price([state.running[name] for name in chosen], scene.now))
    assert found is not None
    assert found == sorted(best)


def _price(chosen: list[Running], now: float) -> tuple[Any, ...]:
    gpus = {r.id: sum(p.need.gpu for p in r.placements) for r in chosen}
    return (
        len(chosen),
        sorted((r.priority for r in chosen), reverse=True),
        sorted(-r.started for r in chosen),
        sum(gpus[r.id] * (now - r.started) for r in chosen),
        sorted(r.id for r in chosen),
    )


def _suffices(wanted: Workload, chosen: tuple[str, ...], state: World) -> bool:
    """By the rules alone, in any order of going, with nothing of the module that is tested."""
    after = [r for name, r in state.running.items() if name not in chosen]
    scene = scene_of(state.nodes, after, state.groups)
    option = next(options(scene.nodes, wanted.shape), None)
    if option is None:
        return False
    asked = demand(wanted.shape, option)
    if not scene.quotas.allows(wanted.group, asked):
        return False
    if not feasible(scene.nodes, scene.room, scene.nodes.usable, wanted.shape, option):
        return False
    return any(_may_go(wanted, order, state, asked) for order in itertools.permutations(chosen))


def _may_go(wanted, order, state, asked) -> bool:
    quotas = Quotas(state.groups, state.running.values())
    for name in order:
        gone = state.running[name]
        lower = gone.priority < wanted.priority and wanted.group in lineage(gone.group)
        if not lower and not quotas.may_reclaim(wanted.group, asked, gone.group):
            return False
        quotas.release(gone.group, "", gone.placements)
    return True
