"""``%why`` in a real kernel at a real platform: a job is made to wait, is told why, and starts by an offer.

What is shown stands in ``docs/why.md``: each test looks for its row of the table there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import footplate as fp
from footplate_spec import ReasonCode as Code
from support.kernel import kernel
from support.whole import Whole, whole
from support.why_world import Notebook, People, Told, end, full_disk, normal, settings, until

PAGE = Path(__file__).resolve().parents[3] / "docs" / "why.md"
SAVING = "trap 'sleep 0.3; exit 0' TERM; sleep 600 & wait"  # what one does who is told to save and to stop

AGAIN = "cd $FOOTPLATE_CHECKPOINT; test -e was-here && echo done || { touch was-here; exec sleep 600; }"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    folder = tmp_path_factory.mktemp("lab")
    with whole(folder, **settings(folder)) as running:
        yield running


@pytest.fixture(scope="module")
def people(lab: Whole) -> Iterator[People]:
    everyone = People(lab)
    yield everyone
    everyone.close()


@pytest.fixture(scope="module")
def kay(lab: Whole, people: People, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    """The notebook of one who is in two groups."""
    home = tmp_path_factory.mktemp("kay")
    variables = {
        "FOOTPLATE_URL": lab.url,
        "FOOTPLATE_TOKEN": "token-kay",
        "HOME": str(home),
        "IPYTHONDIR": str(home / ".ipython"),
    }
    with kernel(home, variables) as running:
        yield Notebook(running, people.client("kay"))


@pytest.fixture
def root(people: People) -> fp.client.Client:
    return people.client("root")


def on_the_page(situation: str, told: Told) -> None:
    """What was shown is what the documentation shows."""
    changes = "<br>".join(
        f"{n}. {fix.sentence}" if fix.change else fix.sentence for n, fix in enumerate(told.why.fixes, 1)
    )
    code = f"`{told.code}`" if told.code else ""
    row = f"| {situation} | {code} | {told.sentence} | {changes} |"
    assert normal(row) in normal(PAGE.read_text(encoding="utf-8")), f"docs/why.md lacks: {row}"


# What can never be


@pytest.mark.parametrize(
    ("situation", "wanted", "code", "offer"),
    [
        (
            "The flavor has no node so large",
            {"gpus": 8, "flavor": "a100"},
            Code.NO_MATCHING_FLAVOR,
            "flavor h100 instead of a100",
        ),
        (
            "More GPUs than any node has",
            {"gpus": 16, "flavor": "h100"},
            Code.NO_MATCHING_FLAVOR,
            "2 × 8 GPUs instead of 16 on one node",
        ),
        (
            "A gang larger than all nodes",
            {"gpus": 4, "replicas": 5, "flavor": "h100"},
            Code.NO_MATCHING_FLAVOR,
            "4 replicas instead of 5",
        ),
        (
            "More cores than a node has",
            {"cpu": 12, "flavor": "t4"},
            Code.NO_MATCHING_FLAVOR,
            "8 cores instead of 12",
        ),
        (
            "More than the group's quota",
            {"gpus": 3, "flavor": "a100", "group": "sales"},
            Code.EXCEEDS_MAX_QUOTA,
            "2 GPUs instead of 3",
        ),
        (
            "More than the quota and all it may borrow",
            {"gpus": 5, "flavor": "l40"},
            Code.EXCEEDS_MAX_QUOTA,
            "group sales instead of research/vision",
        ),
        (
            "Nodes excluded by the job",
            {"gpus": 1, "flavor": "a100", "exclude": ["a1"]},
            Code.NODES_EXCLUDED,
            "node a1 not excluded",
        ),
        (
            "An address excluded by the job",
            {"gpus": 4, "flavor": "a100", "exclude": ["127.0.0.21"]},
            Code.NODES_EXCLUDED,
            "address 127.0.0.21 not excluded",
        ),
        (
            "A label that no node has",
            {"gpus": 1, "flavor": "h100", "nodes_with": {"rack": "c"}},
            Code.NODES_EXCLUDED,
            "without the label rack=c",
        ),
    ],
)
def test_what_can_never_start_says_so_and_starts_with_a_change(kay, situation, wanted, code, offer):
    kay.ask(**wanted)

    told = kay.why(code)

    on_the_page(situation, told)
    number = told.offers.index(f"{offer}: starts now") + 1
    assert kay.apply(number).endswith(f": {offer}: starts now\n")


# What others use


def test_all_in_use_is_told_with_when_it_ends_and_that_is_kept(kay, people):
    with people.running("eve", 4, "t4", time_limit="1h"):
        kay.ask(gpus=4, flavor="t4")
        on_the_page("All are in use", kay.why(Code.WAITING_FOR_CAPACITY))
        kay.run("job.cancel()")
    with people.running("eve", 4, "t4", time_limit="1s"):
        job = kay.ask(gpus=4, flavor="t4")
        told = kay.why(Code.WAITING_FOR_CAPACITY)
        [wait] = [fix for fix in told.why.fixes if fix.kind == "wait"]
        assert told.why.eta.high is not None
        assert kay.kernel.run("job.apply(job._told.fixes[-1])").error.startswith(
            "WrongCallError: there is nothing to"
        )
        kay.succeeds()
    assert abs((job.refresh().started - wait.start).total_seconds()) < 5


def test_a_gang_for_which_too_little_is_free_now_starts_smaller(kay, people):
    with people.running("eve", 4, "h100", cluster="local", time_limit="1h"):
        kay.ask(gpus=4, replicas=4, flavor="h100", cluster="local")
        told = kay.why(Code.WAITING_FOR_CAPACITY)
        on_the_page("A gang, and too little is free", told)
        assert told.offers[0] == "3 replicas instead of 4: starts now"
        kay.apply(1)


def test_enough_is_free_but_not_on_one_node(kay, people):
    half = {"time_limit": "1h", "cluster": "local"}
    with (
        people.running("eve", 4, "h100", exclude={"nodes": ["h2"]}, **half),
        people.running("eve", 4, "h100", exclude={"nodes": ["h1"]}, **half),
    ):
        kay.ask(gpus=8, flavor="h100", cluster="local")
        told = kay.why(Code.TOPOLOGY_PLACEMENT_FAILED)
        on_the_page("Enough is free, but not on one node", told)
        assert told.offers[0] == "2 × 4 GPUs instead of 8 on one node: starts now"
        kay.apply(1)


def test_enough_is_free_but_not_in_one_rack(kay, people):
    half = {"time_limit": "1h", "cluster": "local"}
    with (
        people.running("eve", 4, "h100", exclude={"nodes": ["h2"]}, **half),
        people.running("eve", 4, "h100", exclude={"nodes": ["h1"]}, **half),
    ):
        kay.ask(gpus=4, replicas=2, flavor="h100", cluster="local", topology="rack", time="30m")
        told = kay.why(Code.TOPOLOGY_PLACEMENT_FAILED)
        on_the_page("Enough is free, but not in one rack", told)
        kay.apply(told.offers.index("anywhere instead of in one rack: starts now") + 1)


def test_one_who_would_delay_a_larger_job_ahead_passes_with_a_shorter_time_limit(kay, people):
    with people.running("eve", 4, "h100", cluster="local", time_limit="1h"):
        gang = kay.ask("gang", gpus=8, replicas=2, flavor="h100", cluster="local", time="4h")
        kay.why(Code.WAITING_FOR_CAPACITY, "gang")
        kay.ask(gpus=2, flavor="h100", cluster="local", time="2h", group="sales")
        told = kay.why(Code.RESERVED_FOR_AHEAD)
        on_the_page("Room is kept for a larger job ahead", told)
        assert told.why.ahead == [gang.id]
        number = told.offers.index("a time limit of 55m instead of 2h: starts now") + 1
        kay.apply(number)
        assert gang.refresh().state == "queued"
        end(gang)


# Quotas and limits


def test_the_groups_own_is_used_and_nothing_is_left_to_borrow(kay, people):
    with people.running("bob", 2, "l40", time_limit="1h"), people.running("eve", 5, "l40", time_limit="1h"):
        kay.ask(gpus=2, flavor="l40")
        told = kay.why(Code.WAITING_FOR_QUOTA)
        on_the_page("The group's quota is used up", told)
        assert told.why.eta.high is not None
        kay.apply(told.offers.index("1 GPU instead of 2: starts now") + 1)


def test_the_group_may_not_borrow_more(kay, people):
    with people.running("bob", 3, "l40", time_limit="1h"):
        kay.ask(gpus=2, flavor="l40")
        told = kay.why(Code.BORROWING_LIMIT_REACHED)
        on_the_page("The group may not borrow more", told)
        kay.apply(told.offers.index("group sales instead of research/vision: starts now") + 1)


def test_what_others_borrowed_is_given_back(kay, people):
    with people.running("eve", 8, "l40", SAVING) as borrower:
        kay.ask(gpus=2, flavor="l40")
        told = kay.why(Code.WAITING_FOR_PREEMPTED_WORKLOADS)
        on_the_page("Others give back what they borrowed", told)
        assert told.why.eta.high is not None
        kay.succeeds()
        assert borrower.view().attempt == 2 or borrower.refresh().state == "queued"


def test_one_of_higher_priority_goes_first(kay, people):
    with people.running("eve", 4, "t4", SAVING):
        kay.ask(gpus=4, flavor="t4", group="sales", priority="high")
        kay.why(Code.WAITING_FOR_PREEMPTED_WORKLOADS)
        kay.succeeds()


def test_one_person_may_run_so_many_jobs(kay):
    mine = [kay.ask(f"mine{n}", command="exec sleep 600", flavor="h100") for n in range(4)]
    until(lambda: all(job.refresh().state == "running" for job in mine), mine)
    kay.ask()
    told = kay.why(Code.LIMIT_REACHED)
    on_the_page("As many jobs as one person may run", told)
    assert told.offers == ["group sales instead of research/vision: starts now"]
    kay.apply(1)
    for job in mine:
        end(job)


def test_one_person_may_use_so_many_gpus(kay):
    mine = [kay.ask("mine", command="exec sleep 600", gpus=8, replicas=2, flavor="h100")]
    mine.append(kay.ask("mine", command="exec sleep 600", gpus=4, flavor="a100"))
    until(lambda: all(job.refresh().state == "running" for job in mine), mine)
    kay.ask(gpus=4, flavor="t4")
    told = kay.why(Code.LIMIT_REACHED)
    on_the_page("As many GPUs as one person may use", told)
    kay.apply(told.offers.index("2 GPUs instead of 4: starts now") + 1)
    for job in mine:
        end(job)


# What administrators do


def test_a_job_whose_nodes_address_is_blocked_goes_on_elsewhere(kay, root):
    job = kay.ask(command=AGAIN, gpus=4, flavor="a100")
    until(lambda: job.refresh().state == "running", job)
    root.block_address("127.0.0.21", "its NVLink is being repaired")
    try:
        told = kay.why(Code.NODE_LOST)
        on_the_page("A node's address was blocked", told)
        kay.apply(told.offers.index("flavor h100 instead of a100: starts now") + 1)
    finally:
        root.unblock_address("127.0.0.21")


def test_a_draining_node_takes_no_more(kay, root):
    root.drain_node("local", "t1", "a new driver is installed")
    try:
        kay.ask(gpus=4, flavor="t4")
        told = kay.why(Code.NODE_LOST)
        on_the_page("A node is drained", told)
        kay.apply(told.offers.index("flavor a100 instead of t4: starts now") + 1)
    finally:
        root.unblock_node("local", "t1")


@pytest.mark.parametrize(
    ("held", "wanted", "offer"),
    [
        (("group", "research/vision", "its budget is being settled"), {}, "group sales"),
        (("cluster", "annex", "new switches until 18:00"), {"cluster": "annex"}, "cluster local"),
    ],
    ids=["group", "cluster"],
)
def test_a_hold_is_told_with_what_was_said(kay, root, held, wanted, offer):
    kind, name, _ = held
    root.hold(*held)
    try:
        kay.ask(**wanted)
        told = kay.why(Code.HELD)
        on_the_page(f"The {kind} is held", told)
        kay.apply(told.offers.index(f"{offer} instead of {name}: starts now") + 1)
    finally:
        root.release(kind, name)


def test_a_full_disk_lets_nothing_start_until_there_is_room(kay, people, lab):
    with contextlib.ExitStack() as disk:
        with people.running("eve", 4, "t4"):
            kay.ask(gpus=4, flavor="t4")
            kay.why(Code.WAITING_FOR_CAPACITY)
            disk.enter_context(full_disk(lab.data))
        on_the_page("The platform's disk is full", kay.why(Code.DISK_LOW))
    kay.succeeds()


# What one asked for oneself


def test_a_job_that_waits_for_another_starts_when_that_has_ended(kay):
    first = kay.ask("first", command="sleep 0.5; echo done", time="1h")
    until(lambda: first.refresh().state == "running", first)
    kay.run("ask(after=first)")
    on_the_page("It waits for another job", kay.why(Code.WAITING_FOR_JOBS))
    kay.succeeds()


def test_a_suspended_job_waits_for_its_resumption(kay, people):
    with people.running("eve", 4, "t4", time_limit="1h"):
        kay.ask(gpus=4, flavor="t4")
        kay.run("job.suspend()")
        on_the_page("It was suspended", kay.why(Code.SUSPENDED))
    kay.run("job.resume()")
    kay.succeeds()


def test_an_array_runs_so_many_at_once(kay):
    kay.ask(command="sleep 0.3; echo done", array=3, at_once=1)
    told = kay.why(Code.LIMIT_REACHED)
    on_the_page("An array runs so many at once", told)
    kay.run("job.wait(20.0); assert [run.state for run in job.runs()] == ['succeeded'] * 3, job.runs()")
