"""What a tree of quotas allows: tables of single situations, and a plain recomputation of the formulas."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footplate_hub.queue.model import Amount, GroupModel, Limit, PersonLimit, Placement, Quota
from footplate_hub.queue.quota import Quotas
from footplate_hub.queue.quota_reasons import person_reason, quota_reason
from footplate_hub.queue.resource_tree import UNLIMITED

GPU = ("local", "gpu")


def tree(**groups: tuple[int | None, ...]) -> dict[str, GroupModel]:
    """``a_x=(nominal, borrowing, lending)`` of GPUs, for group ``a/x``."""
    return {
        name.replace("_", "/"): GroupModel(
            name.replace("_", "/"),
            {GPU: Quota(*(Limit(gpu=amount) for amount in (*amounts, None, None)[:3]))},
        )
        for name, amounts in groups.items()
    }


def gpus(count: int) -> dict[tuple[str, str], Amount]:
    return {GPU: Amount(1000, 2**30, count)}


def placed(count: int) -> tuple[Placement, ...]:
    return (Placement("worker", 0, "local", "n", "gpu", Amount(1000, 2**30, count)),)


def quotas(groups: dict[str, GroupModel], **used: int) -> Quotas:
    made = Quotas(groups)
    for name, count in used.items():
        made.take(name.replace("_", "/"), "ada", placed(count))
    return made


def left(of: Quotas, group: str) -> int:
    return of.available(group, GPU)[2]


def kinds(of: Quotas, group: str, count: int) -> list[tuple[str, str]]:
    return [(shortage.kind, shortage.group) for shortage in of.shortages(group, gpus(count))]


def test_what_no_quota_names_is_open_to_all_and_counts_nowhere():
    made = quotas(tree(a=(4,)), b=100)
    assert left(made, "b") == UNLIMITED
    assert left(made, "a") == 4
    assert made.available("a", ("far", "gpu")) == (UNLIMITED, UNLIMITED, UNLIMITED)
    assert made.available("a", GPU)[0] == UNLIMITED


def test_a_group_borrows_what_its_sisters_do_not_use():
    made = quotas(tree(a=(4,), b=(4,)), b=1)
    assert left(made, "a") == 7
    assert made.shortages("a", gpus(7)) == []
    [shortage] = made.shortages("a", gpus(8))
    assert (shortage.kind, shortage.group, shortage.used, shortage.nominal) == ("now", "a", 0, 4)


def test_a_borrowing_limit_of_nothing_makes_a_quota_hard():
    made = quotas(tree(a=(4, 0), b=(4,)), a=3)
    assert left(made, "a") == 1
    [shortage] = made.shortages("a", gpus(2))
    assert (shortage.kind, shortage.used, shortage.limit) == ("borrowing", 3, 4)
    assert left(made, "b") == 5


def test_what_a_group_does_not_lend_nobody_else_gets():
    made = quotas(tree(a=(4, None, 1), b=(4,)))
    assert left(made, "b") == 5
    made.take("b", "ada", placed(5))
    assert (left(made, "a"), left(made, "b")) == (3, 0)
    made.release("b", "ada", placed(5))
    assert (left(made, "a"), left(made, "b")) == (8, 5)


def test_a_quota_holds_for_all_groups_below_it_and_for_those_without_their_own():
    made = quotas(tree(a=(4, 0), a_x=(2,), a_y=(1,)), a_x=2)
    assert [left(made, name) for name in ("a", "a/x", "a/y", "a/z/deep")] == [2, 2, 2, 2]
    made.take("a/z/deep", "ada", placed(2))
    assert [left(made, name) for name in ("a", "a/x", "a/y")] == [0, 0, 0]
    assert kinds(made, "a/y", 1) == [("borrowing", "a"), ("now", "a")]


def test_children_may_keep_part_of_their_parents_quota():
    made = quotas(tree(a=(8, 0), a_x=(4, None, 0), a_y=(4,)), a_y=4)
    assert (left(made, "a/y"), left(made, "a/x")) == (0, 4)
    assert left(made, "a") == 0


def test_groups_borrow_across_the_tree_within_what_each_level_allows():
    groups = tree(a=(4, 2), a_x=(4,), b=(8,))
    assert left(quotas(groups), "a/x") == 6
    assert kinds(quotas(groups, a_x=6), "a/x", 1) == [("borrowing", "a")]
    assert kinds(quotas(groups), "a/x", 7) == [("never", "a")]


def test_more_than_could_ever_be_had_is_said_so_with_the_most():
    made = quotas(tree(a=(2, 1), b=(4,)), b=4)
    [shortage] = made.shortages("a", gpus(4))
    assert (shortage.kind, shortage.group, shortage.limit) == ("never", "a", 3)
    [shortage] = made.shortages("b", gpus(7))
    assert (shortage.kind, shortage.group, shortage.limit) == ("never", "b", 6)


def test_a_shortage_counts_what_others_use_beyond_their_own():
    made = quotas(tree(a=(4,), b=(2,), c=(2,)), b=5, c=3)
    [shortage] = made.shortages("a", gpus(2))
    assert (shortage.kind, shortage.group, shortage.lent) == ("now", "a", 4)
    assert made.borrowing_groups(GPU) == {"b": Amount(gpu=3), "c": Amount(gpu=1)}


def test_a_borrowing_limit_and_a_used_up_pool_are_both_told():
    made = quotas(tree(a=(2, 0), b=(2,)), a=2, b=2)
    assert kinds(made, "a", 1) == [("borrowing", "a"), ("now", "a")]


def test_use_beyond_a_quota_that_shrank_leaves_nothing_and_breaks_nothing():
    made = quotas(tree(a=(2, 0), b=(2, 0)), a=5)
    assert left(made, "a") == 0
    assert not made.allows("a", gpus(1))
    assert made.allows("a", {GPU: Amount(1000, 2**30, 0)})


def test_what_a_group_keeps_stays_its_own_when_others_have_too_much():
    made = quotas(tree(b=(0,), c=(4, None, 0)), b=2)
    assert made.shortages("c", gpus(4)) == []
    assert [s.kind for s in made.shortages("b", gpus(1))] == ["never"]


def test_within_nominal_asks_for_a_nominal_amount_and_room_in_it():
    made = quotas(tree(a=(4,), b=(4,)), a=2)
    assert made.within_nominal("a/x", gpus(2))
    assert not made.within_nominal("a", gpus(3))
    assert not made.within_nominal("free", gpus(1))


def test_what_is_borrowed_may_be_reclaimed_and_nothing_else():
    made = quotas(tree(a=(4,), b=(2,), c=(2,)), b=4, c=2)
    assert made.may_reclaim("a", gpus(2), "b/deep")
    assert not made.may_reclaim("a", gpus(2), "c")
    assert not made.may_reclaim("a", gpus(5), "b")
    assert not made.may_reclaim("a", gpus(1), "open")
    assert not made.may_reclaim("open", gpus(1), "b")


def test_a_group_does_not_reclaim_from_the_group_above_it():
    made = quotas(tree(a=(4,), a_x=(2,)), a=4)
    assert not made.may_reclaim("a/x", gpus(1), "a")
    assert not made.may_reclaim("a", gpus(1), "a/x")


def test_what_one_person_may_have_counts_in_the_group_and_below():
    made = Quotas({"a": GroupModel("a", person=PersonLimit(running=2, gpus=4))})
    made.take("a/x", "ada", placed(3))
    assert made.allows_person("a", "ada", 1)
    assert made.allows_person("a", "bob", 4)
    [shortage] = made.person_shortages("a/y", "ada", 2)
    assert (shortage.group, shortage.resource, shortage.used, shortage.limit) == ("a", "gpus", 3, 4)
    made.take("a", "ada", placed(0))
    assert [s.resource for s in made.person_shortages("a", "ada", 0)] == ["running"]
    made.release("a/x", "ada", placed(3))
    assert made.allows_person("a", "ada", 4)


NAMES = ["a", "a/x", "a/x/deep", "a/y", "b", "b/x", "c"]
AMOUNTS = st.integers(0, 8)
MAYBE = st.none() | AMOUNTS


@st.composite
def worlds(draw):
    groups = {
        name: GroupModel(
            name,
            {GPU: Quota(Limit(gpu=draw(AMOUNTS)), Limit(gpu=draw(MAYBE)), Limit(gpu=draw(MAYBE)))},
        )
        for name in draw(st.lists(st.sampled_from(NAMES), unique=True))
    }
    use = draw(st.lists(st.tuples(st.sampled_from(NAMES), AMOUNTS), max_size=6))
    return groups, use


class Plainly:
    """What each group has left, straight from the formulas, without any state that is kept."""

    def __init__(self, groups: dict[str, GroupModel], use: list[tuple[str, int]]) -> None:
        self.quotas = {name: group.quotas[GPU] for name, group in groups.items()}
        self.own = dict.fromkeys(groups, 0)
        for name, count in use:
            if (holder := self.holder(name)) is not None:
                self.own[holder] += count

    def holder(self, name: str) -> str | None:
        above = [other for other in self.quotas if f"{name}/".startswith(f"{other}/")]
        return max(above, key=len) if above else None

    def parent(self, name: str) -> str | None:
        return self.holder(name.rpartition("/")[0])

    def children(self, name: str | None) -> list[str]:
        return [child for child in self.quotas if self.parent(child) == name]

    def shared(self, name: str) -> int:
        withheld = [
            self.quotas[child].nominal.gpu - self.shared(child) + self.kept(child)
            for child in self.children(name)
        ]
        return self.quotas[name].nominal.gpu - sum(withheld)

    def kept(self, name: str) -> int:
        lending = self.quotas[name].lending.gpu
        return 0 if lending is None else max(0, self.shared(name) - lending)

    def beyond(self, name: str | None) -> int:
        return sum(max(0, self.used(child) - self.kept(child)) for child in self.children(name))

    def used(self, name: str) -> int:
        return self.own[name] + self.beyond(name)

    def available(self, name: str | None) -> int:
        if name is None:
            pool = sum(self.shared(child) - self.kept(child) for child in self.children(None))
            return pool - self.beyond(None)
        kept, used, above = self.kept(name), self.used(name), self.available(self.parent(name))
        borrowing = self.quotas[name].borrowing.gpu
        if borrowing is not None:
            above = min(above, self.shared(name) - kept - max(0, used - kept) + borrowing)
        return max(0, kept - used) + max(0, above)

    @property
    def left(self) -> dict[str, int]:
        holders = {name: self.holder(name) for name in NAMES}
        return {
            name: UNLIMITED if above is None else self.available(above) for name, above in holders.items()
        }


@settings(max_examples=300, deadline=None, derandomize=True)
@given(worlds())
def test_what_is_kept_in_step_is_what_the_formulas_give(world):
    groups, use = world
    made = Quotas(groups)
    for name, count in use:
        made.take(name, "", placed(count))
    if groups:
        assert {name: left(made, name) for name in NAMES} == Plainly(groups, use).left
    for name, count in use[:3]:
        made.release(name, "", placed(count))
    if groups:
        assert {name: left(made, name) for name in NAMES} == Plainly(groups, use[3:]).left


@settings(max_examples=300, deadline=None, derandomize=True)
@given(worlds(), st.sampled_from(NAMES), st.integers(1, 12))
def test_a_shortage_is_named_exactly_when_too_much_is_asked(world, group, count):
    groups, use = world
    made = quotas(groups)
    for name, had in use:
        made.take(name, "", placed(had))
    shortages = made.shortages(group, gpus(count))
    assert bool(shortages) == (count > left(made, group))
    if shortages and shortages[0].kind != "never":
        assert made.allows(group, gpus(0))
        empty = Quotas(groups)
        assert empty.allows(group, gpus(count)) or any(
            quota.quotas[GPU].lending.gpu is not None for quota in groups.values()
        )


@settings(max_examples=300, deadline=None, derandomize=True)
@given(worlds(), st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 4)), max_size=12))
def test_no_group_passes_its_quota_and_no_pool_is_overdrawn(world, asked):
    groups, _ = world
    made = Quotas(groups)
    use: dict[str, int] = dict.fromkeys(NAMES, 0)
    for name, count in asked:
        if made.allows(name, gpus(count)):
            made.take(name, "", placed(count))
            use[name] += count
    fair = all(
        group.quotas[GPU].nominal.gpu
        >= sum(
            other.quotas[GPU].nominal.gpu
            for child, other in groups.items()
            if _nearest(child, groups) == name
        )
        for name, group in groups.items()
    )
    limited = sum(c for n, c in use.items() if any(n == g or n.startswith(g + "/") for g in groups))
    tops = [name for name in groups if _nearest(name, groups) is None]
    assert limited <= sum(groups[name].quotas[GPU].nominal.gpu for name in tops) or not fair
    for name, group in groups.items():
        quota = group.quotas[GPU]
        total = sum(c for n, c in use.items() if n == name or n.startswith(name + "/"))
        if quota.borrowing.gpu is not None and fair:
            assert total <= quota.nominal.gpu + quota.borrowing.gpu


def _nearest(name: str, groups: dict[str, GroupModel]) -> str | None:
    above = [other for other in groups if name.startswith(other + "/")]
    return max(above, key=len) if above else None


@pytest.mark.parametrize(
    ("groups", "used", "asked", "says"),
    [
        (tree(a=(2, 1), b=(4,)), {}, 4, "with all that it may borrow, group a can have 3 GPUs."),
        (tree(a=(2, 0), b=(4,)), {}, 4, "the quota of group a is 2 GPUs."),
        (
            tree(a=(2, 1), b=(4,)),
            {"a": 2},
            2,
            "group a uses 2 of its 2 GPUs, and may borrow 1 at most.",
        ),
        (
            tree(a=(2, 0), b=(4,)),
            {"a": 1},
            2,
            "group a uses 1 of its 2 GPUs, and may borrow nothing.",
        ),
        (
            tree(a=(2,), b=(4,)),
            {"b": 5},
            2,
            "group a uses 0 of its 2 GPUs, and others borrow 1.",
        ),
        (tree(a=(2,)), {"a": 3}, 1, "group a uses 3 GPUs, 1 more than its quota of 2."),
        (
            tree(a=(2,), b=(4,)),
            {"a": 2, "b": 3},
            2,
            "group a uses 2 of its 2 GPUs, and others leave 1 to borrow.",
        ),
        (
            tree(a=(2,), b=(4,)),
            {"a": 3, "b": 3},
            1,
            "group a uses 3 GPUs, 1 more than its quota of 2, and others leave none to borrow.",
        ),
    ],
)
def test_the_sentence_has_the_numbers(groups, used, asked, says):
    [shortage, *_] = quotas(groups, **used).shortages("a", gpus(asked))
    reason = quota_reason(shortage)
    assert reason.message == f"Needs {asked} GPUs on gpu; {says}".replace("1 GPUs", "1 GPU")
    assert reason.numbers["asked"] == asked


def test_a_persons_limit_is_a_sentence_too():
    made = Quotas({"a": GroupModel("a", person=PersonLimit(running=1, gpus=2))})
    made.take("a", "ada", placed(2))
    running, cards = (person_reason(shortage) for shortage in made.person_shortages("a", "ada", 1))
    assert running.message == "ada has 1 running in group a, where one person may have 1 job at one time."
    assert cards.message == "Needs 1 GPU; ada uses 2 in group a, where one person may have 2."
