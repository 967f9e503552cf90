"""What people read: one sentence for each thing that may stand in the way, with names and numbers in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from footplate_hub.queue.model import Amount
from footplate_hub.queue.schedule import schedule
from footplate_spec.reasons import ReasonCode as Code
from support.worlds import GI, node, role, running, workload, world

H = [node(f"h{i}", gpu=8, flavor="h100", labels={"rack": "ab"[i - 1]}, address=f"10.0.0.{i}") for i in (1, 2)]


def told(
    nodes: list[Any], *roles: Any, busy: dict[str, Amount] | None = None, **shape: Any
) -> tuple[Code, str]:
    by_name = {one.name: one for one in nodes}
    used = tuple(running(f"r-{name}", by_name[name], need) for name, need in (busy or {}).items())
    reason = schedule(world(nodes, [workload("w", *roles, **shape)], running=used), 0).reasons["w"]
    return reason.code, reason.message


def h100(replicas: int = 1, gpu: int = 0, **more: Any) -> Any:
    return role(replicas, gpu, flavors=["h100"], **more)


@pytest.mark.parametrize(
    ("roles", "says"),
    [
        ([h100(gpu=16)], "Needs 16 GPUs on one node; no node with flavor h100 has more than 8 GPUs."),
        (
            [h100(3, gpu=16, cpu=9)],
            "Each of its 3 replicas needs 16 GPUs and 9 cores on one node; no node with flavor h100 "
            "has more than 8 GPUs and 8 cores.",
        ),
        (
            [h100(2, name="worker"), h100(name="ps", memory=65)],
            "Role ps needs 65Gi of memory on one node; no node with flavor h100 has more than 64Gi "
            "of memory.",
        ),
        ([h100(3, gpu=8)], "Needs 3 × 8 GPUs; all 2 nodes with flavor h100 together have 16 GPUs."),
        (
            [h100(3, gpu=5)],
            "Needs 3 × 5 GPUs, each on one node; all 2 nodes with flavor h100 hold 2 of these at most.",
        ),
        (
            [h100(2, gpu=5), h100(2, gpu=3, name="ps"), h100(cpu=7, name="chief")],
            "Needs 2 × 5 GPUs + 2 × 3 GPUs, each on one node; all 2 nodes with flavor h100 cannot "
            "hold all of these at one time.",
        ),
        ([role(gpu=9)], "Needs 9 GPUs; no node has more than 8 GPUs."),
        ([role(flavors=["a100"])], "No node has flavor a100; there is h100."),
    ],
    ids=["a node", "each replica", "one role", "all nodes", "packing", "roles", "any flavor", "flavor"],
)
def test_what_no_node_is_large_enough_for(roles, says):
    assert told(H, *roles) == (Code.NO_MATCHING_FLAVOR, says)


def test_nodes_that_are_not_alike_may_each_lack_something_else():
    nodes = [node("a", gpu=8, cpu=2), node("b", gpu=1, cpu=64)]
    assert told(nodes, role(gpu=8, cpu=8, flavors=["gpu"]))[1] == (
        "Needs 8 GPUs, 8 cores and 1Gi of memory on one node; no node with flavor gpu has all of that."
    )


def test_a_whole_gang_may_be_too_large_for_one_node_or_rack():
    assert told(H, h100(3, gpu=4), topology="node")[1] == (
        "Needs 3 × 4 GPUs on one node; no node with flavor h100 holds that."
    )
    assert told(H, h100(2, gpu=8), topology="rack")[1] == (
        "Needs 2 × 8 GPUs in one rack; no rack with flavor h100 holds that."
    )


def test_of_clusters_with_the_same_flavor_the_one_with_the_largest_nodes_is_told():
    nodes = [node("x", gpu=4, flavor="h100", cluster="annex"), *H]
    assert told(nodes, h100(gpu=16))[1].endswith("no node with flavor h100 has more than 8 GPUs.")
    assert told(nodes, h100(gpu=16), clusters=("annex",))[1] == (
        "Needs 16 GPUs on one node; no node with flavor h100 on cluster annex has more than 4 GPUs."
    )
    assert told(nodes, role(flavors=["a100"]), clusters=("annex",))[1] == (
        "No node on cluster annex has flavor a100; there is h100."
    )


def test_a_platform_without_nodes_says_so():
    assert told([], role(gpu=1)) == (Code.NO_MATCHING_FLAVOR, "Needs 1 GPU; there is no node.")


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ({"exclude_nodes": {"h1", "local/h2"}}, "it excludes h1 and h2, all 2 nodes with flavor h100."),
        (
            {"exclude_addresses": {"10.0.0.1"}, "gpus": 16},
            "it excludes h1; the 1 that is left cannot hold it.",
        ),
        (
            {"labels": (("rack", "c"),)},
            "no node with flavor h100 has the label rack=c (there is rack=a and rack=b).",
        ),
        ({"labels": (("disk", "ssd"),)}, "no node with flavor h100 has the label disk=ssd."),
        (
            {"labels": (("rack", "a"),), "gpus": 16},
            "only 1 of 2 nodes with flavor h100 has the label rack=a (there is rack=b); the 1 that "
            "is left cannot hold it.",
        ),
    ],
    ids=["nodes", "an address", "another label", "no label", "too few"],
)
def test_what_a_job_rules_out_itself(shape, says):
    shape = {name: frozenset(value) if isinstance(value, set) else value for name, value in shape.items()}
    gang = h100(2, gpu=8) if shape.pop("gpus", None) else h100(gpu=8)
    needs = "2 × 8 GPUs" if gang.replicas == 2 else "8 GPUs"
    assert told(H, gang, **shape) == (Code.NODES_EXCLUDED, f"Needs {needs}; {says}")


def test_nodes_that_are_out_are_named_with_what_their_administrator_said():
    out = replace(H[0], unusable="blocked: the fan is loud")
    assert told([out], h100(gpu=8)) == (
        Code.NODE_LOST,
        "Needs 8 GPUs; h1 is blocked: the fan is loud, and there is no other node with flavor h100.",
    )
    assert told([out, H[1]], h100(2, gpu=8))[1].endswith(
        "h1 is blocked: the fan is loud, and the other node with flavor h100 cannot hold it."
    )


@pytest.mark.parametrize(
    ("roles", "busy", "code", "says"),
    [
        (
            [h100(2, gpu=8)],
            {"h1": Amount(gpu=5)},
            Code.WAITING_FOR_CAPACITY,
            "Needs 2 × 8 GPUs; 11 of 16 are free on h100.",
        ),
        (
            [h100(2, cpu=8)],
            {"h1": Amount(500)},
            Code.WAITING_FOR_CAPACITY,
            "Needs 2 × 8 cores; 15.5 of 16 are free on h100.",
        ),
        (
            [h100(2, memory=64)],
            {"h1": Amount(0, GI)},
            Code.WAITING_FOR_CAPACITY,
            "Needs 2 × 64Gi of memory; 127Gi of 128Gi is free on h100.",
        ),
        (
            [h100(gpu=8)],
            {"h1": Amount(gpu=4), "h2": Amount(gpu=2)},
            Code.TOPOLOGY_PLACEMENT_FAILED,
            "Needs 8 GPUs on one node; 10 GPUs are free on h100, but at most 6 on one node.",
        ),
        (
            [h100(3, gpu=4)],
            {"h1": Amount(gpu=2), "h2": Amount(gpu=2)},
            Code.TOPOLOGY_PLACEMENT_FAILED,
            "Needs 3 × 4 GPUs, each on one node; 12 GPUs are free on h100, but there is room for "
            "only 2 of its 3 replicas.",
        ),
        (
            [h100(gpu=8, cpu=8)],
            {"h1": Amount(1000), "h2": Amount(0, 0, 1)},
            Code.TOPOLOGY_PLACEMENT_FAILED,
            "Needs 8 GPUs on one node; 15 GPUs are free on h100, but the best node, h1, has "
            "only 7 cores left.",
        ),
        (
            [h100(cpu=8, memory=64)],
            {"h1": Amount(1000), "h2": Amount(0, GI)},
            Code.TOPOLOGY_PLACEMENT_FAILED,
            "Needs 8 cores and 64Gi of memory on one node; 15 cores and 127Gi of memory are free on "
            "h100, but the best node, h2, has only 63Gi of memory left.",
        ),
        (
            [h100(cpu=8)],
            {"h1": Amount(1000), "h2": Amount(2000)},
            Code.TOPOLOGY_PLACEMENT_FAILED,
            "Needs 8 cores and 1Gi of memory on one node; 13 cores and 128Gi of memory are free on "
            "h100, but at most 7 cores on one node.",
        ),
        (
            [h100(gpu=8), h100(2, gpu=3, name="ps")],
            {"h1": Amount(gpu=1), "h2": Amount(gpu=1)},
            Code.TOPOLOGY_PLACEMENT_FAILED,
            "Needs 8 GPUs + 2 × 3 GPUs, each on one node; 14 GPUs are free on h100, but not for all "
            "of its roles at one time.",
        ),
    ],
    ids=["GPUs", "cores", "memory", "apart", "a gang", "another resource", "two resources", "cores", "roles"],
)
def test_what_is_in_use_now(roles, busy, code, says):
    assert told(H, *roles, busy=busy) == (code, says)


def test_the_next_end_is_told_where_no_nodes_are_kept():
    busy = (running("r", H[0], Amount(0, GI, 8), ends=50.0), running("s", H[1], Amount(0, GI, 8)))
    waiting = [workload("w", h100(gpu=8), place=1), workload("x", h100(2, gpu=8), place=2)]
    reasons = schedule(world(H, waiting, running=busy), 0).reasons
    assert reasons["w"].message.endswith(
        "A node is kept for it: by the time limits of what runs there it starts within 50s."
    )
    assert reasons["x"].message == (
        "Needs 2 × 8 GPUs; 0 of 16 are free on h100. The next job there ends within 50s."
    )


def test_a_taint_keeps_away_who_does_not_tolerate_it():
    nodes = [replace(one, taints=(("team", "vision", "NoSchedule"),)) for one in H]
    code, says = told(nodes, h100(gpu=1))
    assert (code, says) == (
        Code.NODES_EXCLUDED,
        "Needs 1 GPU; it does not tolerate the taint team=vision:NoSchedule of h1 and h2.",
    )
    assert told(nodes, h100(gpu=1), tolerations=(("team", "audio", None),))[0] is Code.NODES_EXCLUDED
    for tolerations in ((("team", None, None),), (("team", "vision", "NoSchedule"),)):
        plan = schedule(world(nodes, [workload("w", h100(gpu=1), tolerations=tolerations)]), 0)
        assert [admission.workload.id for admission in plan.admit] == ["w"]


def test_what_else_a_replica_needs_its_node_must_have():
    nodes = [H[0], replace(H[1], extended={"rdma/hca": 2})]
    plan = schedule(world(nodes, [workload("w", h100(gpu=1), extended=(("rdma/hca", 2),))]), 0)
    assert [one.node for one in plan.admit[0].placements] == ["h2"]
    code, says = told(nodes, h100(gpu=1), extended=(("rdma/hca", 3),))
    assert (code, says) == (
        Code.NODES_EXCLUDED,
        "Needs 1 GPU; no node has 3 rdma/hca with flavor h100.",
    )
