"""What a pod's status means: alive, dead and why, on its way and why."""

from __future__ import annotations

import pytest

from footplate_hub.engines.kubernetes import names
from footplate_hub.engines.kubernetes.nodes import node_of
from footplate_hub.engines.kubernetes.pods import ended, kept, observation
from footplate_hub.settings import ClusterSettings


def pod(phase="Running", index="1", **status) -> dict:
    return {
        "metadata": {
            "uid": "u1",
            "labels": {names.ATTEMPT: "digits-7k3f9m-a1", names.ROLE: "worker"},
            "annotations": {"batch.kubernetes.io/job-completion-index": index},
        },
        "spec": {"nodeName": "n1"},
        "status": {"phase": phase, **status},
    }


def container(**state) -> dict:
    return {"containerStatuses": [{"name": "main", "image": "py:9", "state": state}]}


def test_a_pod_that_runs_is_alive_and_known_by_its_uid():
    seen = observation(pod(), deleted=False)
    assert (seen.attempt, seen.role, seen.index, seen.alive, seen.holder) == (
        "digits-7k3f9m-a1",
        "worker",
        1,
        True,
        "u1",
    )


def test_a_pod_of_somebody_else_is_none_of_ours():
    foreign = pod()
    foreign["metadata"]["labels"] = {"app": "x"}
    assert observation(foreign, deleted=False) is None


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (container(terminated={"reason": "OOMKilled", "exitCode": 137}), "OutOfMemory", "more memory"),
        (container(terminated={"reason": "Error", "exitCode": 3}), "PlatformFault", "exit code 3: Error"),
        (
            {
                "conditions": [
                    {
                        "type": "DisruptionTarget",
                        "status": "True",
                        "reason": "EvictionByEvictionAPI",
                        "message": "drain",
                    }
                ]
            },
            "Evicted",
            "took its pod away: drain",
        ),
        (
            {"reason": "NodeLost", "message": "node is gone"},
            "NodeLost",
            "Its pod on n1 is gone: node is gone.",
        ),
        ({}, "NodeLost", "Its pod on n1 is gone."),
    ],
)
def test_a_dead_pod_says_why(status, code, words):
    seen = observation(pod("Failed", **status), deleted=False)
    assert (seen.alive, seen.cause.code) == (False, code)
    assert words in seen.cause.message


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (
            container(waiting={"reason": "ImagePullBackOff", "message": "no such image"}),
            "The image py:9 cannot be pulled: no such image",
        ),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "no nodes"}]},
            "Kubernetes has not found a place for its pod: no nodes",
        ),
        ({}, ""),
    ],
)
def test_a_pod_on_its_way_says_what_it_waits_for(status, words):
    assert observation(pod("Pending", **status), deleted=False).message == words


def test_a_deleted_pod_is_dead_whatever_its_status_says():
    assert observation(pod(), deleted=True).alive is False
    assert not ended(pod())


ADDRESSES = (("Hostname", "n1"), ("InternalIP", "10.0.0.7"))


def node(**fields) -> dict:
    return {
        "metadata": {"name": "n1", "labels": {"rack": "r1", **fields.pop("labels", {})}},
        "spec": fields.pop("spec", {}),
        "status": {
            "allocatable": {"cpu": "3920m", "memory": "64Gi", **fields.pop("extended", {})},
            "addresses": [
                {"type": "Hostname", "address": "n1"},
                {"type": "InternalIP", "address": "10.0.0.7"},
            ],
            "conditions": [{"type": "Ready", "status": fields.pop("ready", "True")}],
        },
    }


CLUSTER = ClusterSettings.model_validate({"name": "c", "engine": "kubernetes", "kubernetes": {"image": "x"}})


def test_a_node_offers_what_may_be_allocated():
    found = node_of(node(), CLUSTER)
    assert (found.cpu, found.memory, found.gpu, found.flavor) == (3920, 2**36, 0, "cpu")
    assert (found.address, found.ready, found.labels["rack"]) == ("10.0.0.7", True, "r1")


@pytest.mark.parametrize(
    ("labels", "flavor"),
    [
        ({"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}, "nvidia-h100-80gb-hbm3"),
        ({"nvidia.com/gpu.product": "NVIDIA-H100", "footplate/flavor": "h100"}, "h100"),
    ],
)
def test_the_flavor_is_a_label_or_the_model(labels, flavor):
    found = node_of(node(labels=labels, extended={"nvidia.com/gpu": "8"}), CLUSTER)
    assert (found.flavor, found.gpu) == (flavor, 8)


@pytest.mark.parametrize(
    "fields",
    [
        {"ready": "Unknown"},
        {"spec": {"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]}},
    ],
)
def test_a_node_that_takes_nothing_new_is_not_ready(fields):
    assert node_of(node(**fields), CLUSTER).ready is False


@pytest.mark.parametrize(
    "taints", [[], [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]]
)
def test_a_cordon_is_a_taint_and_no_trouble(taints):
    found = node_of(node(spec={"unschedulable": True, "taints": taints}), CLUSTER)
    assert ([taint.key for taint in found.taints], found.ready) == (
        ["node.kubernetes.io/unschedulable"],
        True,
    )


def test_a_node_says_which_taints_the_cluster_does_not_tolerate():
    keys = ("kept", "tolerated", "node.kubernetes.io/memory-pressure")
    taints = [{"key": key, "value": "v", "effect": "NoSchedule"} for key in keys]
    taints.append({"key": "soft", "effect": "PreferNoSchedule"})
    tolerations = [{"key": keys[1]}, {"key": keys[2]}, {"key": "kept", "value": "another"}]
    made = CLUSTER.model_dump() | {"kubernetes": {"image": "x", "tolerations": tolerations}}
    found = node_of(node(spec={"taints": taints}), ClusterSettings.model_validate(made))
    assert ([taint.key for taint in found.taints], found.ready) == (["kept"], True)


def test_a_node_offers_what_else_kubernetes_counts():
    offered = {"nvidia.com/gpu": "8", "rdma/hca": "4", "hugepages-2Mi": "0"}
    assert node_of(node(extended=offered), CLUSTER).extended == {"rdma/hca": 4}


def test_a_node_without_the_selectors_labels_is_not_for_jobs():
    made = CLUSTER.model_dump() | {"kubernetes": {"image": "x", "node_selector": {"pool": "jobs"}}}
    cluster = ClusterSettings.model_validate(made)
    assert node_of(node(labels={"pool": "web"}), cluster) is None
    assert node_of(node(labels={"pool": "jobs"}), cluster).name == "n1"


def test_what_is_kept_of_a_pod_tells_the_same_as_all_of_it():
    whole = pod("Failed", **container(terminated={"exitCode": 137, "reason": "OOMKilled"}))
    whole["metadata"] |= {"managedFields": [{}], "name": "p", "namespace": "n", "resourceVersion": "7"}
    whole["spec"]["containers"] = [{"name": "main"}]
    whole["status"]["podIPs"] = [{"ip": "10.0.0.1"}]
    little = kept(whole)
    assert observation(little, deleted=False) == observation(whole, deleted=False)
    assert little["metadata"].keys() == {
        "uid",
        "labels",
        "annotations",
        "name",
        "namespace",
        "resourceVersion",
    }
    assert (little["spec"], little["status"].keys()) == ({"nodeName": "n1"}, {"phase", "containerStatuses"})
