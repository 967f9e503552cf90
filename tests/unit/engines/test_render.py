"""From an attempt to manifests: names, secrets, places, and nothing that an engine would repeat by itself."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from pydantic import ValidationError

from footplate_hub.engines import Attempt, PlacedReplica
from footplate_hub.engines.kubernetes import names
from footplate_hub.engines.kubernetes.render import KINDS, render, render_again
from footplate_hub.settings import KubernetesSettings
from footplate_spec import JobSpec
from support.attempts import attempt, context


def rendered(of: Attempt, **settings) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for manifest in render(of, context(of, **settings), KINDS["kubernetes"]):
        found.setdefault(manifest["kind"], []).append(manifest)
    return found


def pod(of: Attempt, **settings) -> dict:
    return rendered(of, **settings)["Job"][0]["spec"]["template"]["spec"]


def test_a_role_is_an_indexed_job_that_repeats_nothing_by_itself():
    [job] = rendered(attempt(roles=[{"replicas": 3}]))["Job"]
    assert (job["spec"]["completionMode"], job["spec"]["completions"]) == ("Indexed", 3)
    assert (job["spec"]["parallelism"], job["spec"]["backoffLimitPerIndex"]) == (3, 0)
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_every_role_has_its_own_and_the_first_manifest_owns_the_rest():
    of = attempt(roles=[{"name": "chief"}, {"name": "worker", "replicas": 2}])
    kinds = [manifest["kind"] for manifest in render(of, context(of), KINDS["kubernetes"])]
    assert kinds == ["ConfigMap", "Secret", "Secret", "Service", "Job", "Job"]


def test_tokens_are_in_secrets_and_nowhere_else():
    of = attempt(roles=[{"replicas": 2}])
    for manifest in render(of, context(of), KINDS["kubernetes"]):
        assert ("token of" in json.dumps(manifest)) is False
    [secret] = rendered(of)["Secret"]
    assert base64.b64decode(secret["data"]["token-1"]) == b"token of worker 1"


def test_an_agent_begins_with_what_the_job_says():
    of = attempt(env={"A": "1"}, roles=[{"env": {"B": "2"}, "resources": {"memory": "1Gi"}}])
    [secret] = rendered(of, checkpoints={"claim": "ckpt"})["Secret"]
    start = json.loads(base64.b64decode(secret["data"]["start.json"]))
    assert (start["job"], start["env"], start["memory"]) == (of.job, {"A": "1", "B": "2"}, 2**30)
    assert start["checkpoint"] == f"/footplate/checkpoints/{of.job}"
    assert "token" not in start


def test_a_pod_may_go_to_any_of_the_nodes_that_the_queue_chose():
    affinity = pod(attempt(roles=[{"replicas": 2}]))["affinity"]["nodeAffinity"]
    [term] = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    [chosen] = term["matchExpressions"]
    assert (chosen["key"], chosen["operator"], chosen["values"]) == (
        "kubernetes.io/hostname",
        "In",
        ["n1", "n2"],
    )


@pytest.mark.parametrize(
    ("fields", "image"),
    [
        ({}, "py:3.11"),
        ({"image": "mine:1"}, "mine:1"),
        ({"image": "mine:1", "roles": [{"image": "its:2"}]}, "its:2"),
    ],
)
def test_the_nearest_image_is_taken(fields, image):
    assert pod(attempt(**fields))["containers"][0]["image"] == image


def test_what_it_asks_for_is_what_it_is_held_to():
    resources = {"cpu": "500m", "memory": "1Gi", "gpu": 2, "shm": "64Mi"}
    spec = pod(attempt(roles=[{"resources": resources}]), gpu="example.com/gpu")
    given = spec["containers"][0]["resources"]
    assert given["requests"] == {"cpu": "500m", "memory": str(2**30), "example.com/gpu": "2"}
    assert given["limits"] == {"memory": str(2**30), "example.com/gpu": "2"}
    [shm] = [volume for volume in spec["volumes"] if volume["name"] == "shm"]
    assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": str(2**26)}


def test_a_pod_gets_no_account_of_the_cluster():
    assert pod(attempt())["automountServiceAccountToken"] is False


def test_labels_of_the_user_never_replace_ours():
    of = attempt(placement={"labels": {"team": "vision"}, "annotations": {"note": "by hand"}})
    meta = rendered(of)["Job"][0]["spec"]["template"]["metadata"]
    assert meta["labels"]["team"] == "vision"
    assert meta["labels"][names.ATTEMPT] == of.id
    assert meta["annotations"]["note"] == "by hand"


def test_a_replica_that_runs_again_is_a_job_of_its_own_that_knows_which_it_is():
    of = attempt(roles=[{"replicas": 3}])
    again = render_again(
        of, PlacedReplica("worker", 2, "n1", execution=2), context(of), KINDS["kubernetes"], 0
    )
    assert again["metadata"]["name"] == f"{of.id}-worker-2-2-0"
    assert (again["spec"]["completions"], again["spec"]["parallelism"]) == (1, 1)
    template = again["spec"]["template"]
    assert template["metadata"]["annotations"][names.INDEX] == "2"
    [variable] = [one for one in template["spec"]["containers"][0]["env"] if one["name"].endswith("INDEX")]
    assert names.INDEX in variable["valueFrom"]["fieldRef"]["fieldPath"]


@pytest.mark.parametrize("engine", sorted(KINDS))
def test_a_gang_meets_at_a_name_that_leads_to_its_first_replica_alone(engine):
    kind = KINDS[engine]
    of = attempt(roles=[{"replicas": 3}, {"name": "helper"}])
    [service] = [one for one in render(of, context(of), kind) if one["kind"] == "Service"]
    assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == ("None", True)
    selector = service["spec"]["selector"]
    assert kind.FIRST.items() < selector.items()
    for role in of.spec.roles:
        for index in range(role.replicas):
            again = render_again(of, PlacedReplica(role.name, index, "n1", 2), context(of), kind, 0)
            [template] = templates(again)
            counted = template["metadata"]["labels"] | kind.FIRST  # it is the only pod of its workload
            assert (selector.items() <= counted.items()) is (role.name == "worker" and index == 0)


def test_one_replica_meets_nobody():
    assert "Service" not in rendered(attempt())


def templates(part) -> list[dict]:
    """Every pod template in a manifest."""
    if isinstance(part, list):
        return [found for one in part for found in templates(one)]
    if not isinstance(part, dict):
        return []
    here = [part["template"]] if "containers" in part.get("template", {}).get("spec", {}) else []
    return here or [found for one in part.values() for found in templates(one)]


def test_names_stay_short_and_are_not_confused():
    long = attempt(
        job=f"{'x' * 40}-7k3f9m", roles=[{"name": f"{'r' * 38}{n}", "replicas": 2} for n in (1, 2)]
    )
    made = [manifest["metadata"]["name"] for manifest in render(long, context(long), KINDS["kubernetes"])]
    assert len(set(made)) == 4  # a role's secret and job share a name; the gang's name is its own
    assert all(len(name) <= 45 for name in made)


def test_a_volume_is_a_claim_that_the_agent_shows_where_the_code_expects_it():
    of = attempt(mounts=[{"volume": "scratch", "path": "/scratch"}])
    found = rendered(of, volumes={"scratch": "pvc-7"})
    spec = found["Job"][0]["spec"]["template"]["spec"]
    assert {"name": "volume-scratch", "persistentVolumeClaim": {"claimName": "pvc-7"}} in spec["volumes"]
    start = json.loads(base64.b64decode(found["Secret"][0]["data"]["start.json"]))
    [mount] = start["mounts"]
    assert {"name": "volume-scratch", "mountPath": mount["host"]} in spec["containers"][0]["volumeMounts"]
    assert mount["path"] == "/scratch"


def test_volcano_gets_one_job_whose_gang_is_everybody():
    of = attempt(roles=[{"name": "chief"}, {"name": "worker", "replicas": 3}])
    manifests = render(of, context(of, queue="research"), KINDS["volcano"])
    [job] = [manifest for manifest in manifests if manifest["kind"] == "Job"]
    assert (job["spec"]["minAvailable"], job["spec"]["queue"]) == (4, "research")
    assert [(task["name"], task["replicas"]) for task in job["spec"]["tasks"]] == [
        ("chief", 1),
        ("worker", 3),
    ]
    again = render_again(of, PlacedReplica("worker", 2, "n1", execution=2), context(of), KINDS["volcano"], 1)
    assert again["spec"]["minAvailable"] == 1
    assert again["metadata"]["name"].endswith("-worker-2-2-1")


@pytest.mark.parametrize("engine", ["kubeflow-v1", "kubedl"])
def test_a_pytorchjob_has_a_master_whatever_the_roles_are_called(engine):
    kind = KINDS[engine]
    for roles, expected in (
        ([{"replicas": 3}], {"Master": (1, "0"), "Worker": (2, "1")}),
        ([{}], {"Master": (1, "0")}),
        ([{"replicas": 2}, {"name": "lead"}], {"Master": (1, "0"), "Worker": (2, "0")}),
    ):
        of = attempt(roles=roles)
        [job] = [one for one in render(of, context(of), kind) if one["kind"] == "PyTorchJob"]
        found = {
            name: (part["replicas"], part["template"]["metadata"]["annotations"][names.OFFSET])
            for name, part in job["spec"]["pytorchReplicaSpecs"].items()
        }
        assert found == expected
    three = JobSpec.model_validate({"command": ["x"], "roles": [{"name": name} for name in ("a", "b", "c")]})
    assert "master" in kind.refused(three)


def test_a_trainjob_brings_a_runtime_that_says_everything():
    of = attempt(roles=[{"replicas": 3}, {"name": "chief"}])
    manifests = render(of, context(of), KINDS["kubeflow"])
    runtime, training = manifests[-2:]
    assert (runtime["kind"], training["kind"]) == ("TrainingRuntime", "TrainJob")
    assert training["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"]
    jobs = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    assert [(job["name"], job["template"]["spec"]["completions"]) for job in jobs] == [
        ("node", 3),
        ("chief", 1),
    ]


CUSTOMS = {
    "tolerations": [{"key": "gpu"}],
    "priority_classes": {"high": "urgent"},
    "runtime_class": "nvidia",
    "pull_secrets": ["registry"],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "topology_spread": [{"topology_key": "zone"}],
}


def test_pods_follow_the_customs_of_their_cluster():
    of = attempt(priority="high", placement={"tolerations": [{"key": "team", "value": "vision"}]})
    spec = pod(of, **CUSTOMS)
    assert spec["tolerations"] == [
        {"key": "gpu", "operator": "Exists"},
        {"key": "team", "operator": "Equal", "value": "vision"},
    ]
    assert (spec["priorityClassName"], spec["runtimeClassName"]) == ("urgent", "nvidia")
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    [spread] = spec["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == {names.ATTEMPT: of.id}
    assert set(spec["affinity"]["nodeAffinity"]) == {
        "preferredDuringSchedulingIgnoredDuringExecution",
        "requiredDuringSchedulingIgnoredDuringExecution",
    }
    assert "priorityClassName" not in pod(attempt(), **CUSTOMS)


def test_extended_resources_are_asked_for_as_they_are_named():
    given = pod(attempt(roles=[{"resources": {"extended": {"rdma/hca": 1}}}]))["containers"][0]["resources"]
    assert given["limits"]["rdma/hca"] == given["requests"]["rdma/hca"] == "1"


@pytest.mark.parametrize(
    ("affinity", "said"),
    [
        ({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}, "node_selector"),
        ({"podafinity": {}}, "podAffinity"),
    ],
)
def test_an_affinity_that_the_queue_would_not_know_is_refused(affinity, said):
    with pytest.raises(ValidationError, match=said):
        KubernetesSettings.model_validate({"image": "x", "affinity": affinity})


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        ([{"resources": {"extended": {"hca": 1}}}], "domain"),
        ([{"name": "a", "resources": {"extended": {"rdma/hca": 1}}}, {"name": "b"}], "all roles"),
    ],
)
def test_extended_resources_that_nobody_could_place_are_refused(roles, said):
    with pytest.raises(ValidationError, match=said):
        JobSpec.model_validate({"command": ["true"], "roles": roles})


@pytest.mark.parametrize("engine", sorted(KINDS))
def test_everything_is_in_the_namespace_of_the_group(engine):
    of = attempt(roles=[{"replicas": 2}])
    again = PlacedReplica("worker", 1, "n1", execution=2)
    for settings, namespace in (({}, "footplate"), ({"namespaces": {"research": "labs"}}, "labs")):
        with_these = context(of, **settings)
        made = render(of, with_these, KINDS[engine])
        made.append(render_again(of, again, with_these, KINDS[engine], 0))
        assert {one["metadata"]["namespace"] for one in made} == {namespace}


def test_groups_below_one_with_a_namespace_share_it():
    namespaces = {"research": "labs", "research/vision": "eyes"}
    settings = KubernetesSettings.model_validate({"image": "x", "namespaces": namespaces})
    found = [settings.namespace_of(group) for group in ("research/nlp/x", "research/vision/x", "sales")]
    assert found == ["labs", "eyes", None]
    assert settings.all_namespaces == ["eyes", "labs"]


TENSORFLOW = [{"name": "chief"}, {"name": "ps"}, {"replicas": 2}]


@pytest.mark.parametrize("engine", ["kubeflow-v1", "kubedl"])
def test_tensorflows_roles_are_a_tfjob(engine):
    of = attempt(roles=TENSORFLOW)
    *_, job = render(of, context(of), KINDS[engine])
    parts = job["spec"]["tfReplicaSpecs"]
    assert (job["kind"], {name: part["replicas"] for name, part in parts.items()}) == (
        "TFJob",
        {"Chief": 1, "PS": 1, "Worker": 2},
    )
    assert {part["template"]["spec"]["containers"][0]["name"] for part in parts.values()} == {"tensorflow"}
    chiefs = [{"name": "chief", "replicas": 2}, {"name": "ps"}]
    refused = KINDS[engine].refused(JobSpec.model_validate({"command": ["x"], "roles": chiefs}))
    assert refused == "TFJobs with more than one chief or evaluator"
    alone = attempt(roles=[{"replicas": 2}])
    assert render(alone, context(alone), KINDS[engine])[-1]["kind"] == "PyTorchJob"


def test_a_gang_is_a_group_of_pods_where_the_server_has_such():
    of = attempt(roles=[{"replicas": 2}, {"name": "chief"}])
    with_gangs = replace(context(of), gangs=True)
    group, *jobs = [one for one in render(of, with_gangs, KINDS["kubernetes"]) if "spec" in one][1:]
    assert (group["kind"], group["spec"]["schedulingPolicy"]) == ("PodGroup", {"gang": {"minCount": 3}})
    assert [job["spec"]["template"]["spec"]["schedulingGroup"] for job in jobs] == [
        {"podGroupName": group["metadata"]["name"]}
    ] * 2
    again = render_again(of, PlacedReplica("worker", 1, "n1", 2), with_gangs, KINDS["kubernetes"], 0)
    assert "schedulingGroup" not in again["spec"]["template"]["spec"]  # the others run
    alone = attempt()
    kinds = [one["kind"] for one in render(alone, replace(context(alone), gangs=True), KINDS["kubernetes"])]
    assert "PodGroup" not in kinds


@pytest.mark.parametrize("engine", sorted(KINDS))
def test_what_makes_pods_goes_through_kueues_queue_where_one_is_named(engine):
    of = attempt(roles=[{"replicas": 2}])
    for settings, expected in (({}, None), ({"local_queue": "jobs"}, "jobs")):
        with_these = context(of, **settings)
        again = render_again(of, PlacedReplica("worker", 1, "n1", 2), with_these, KINDS[engine], 0)
        for manifest in (*render(of, with_these, KINDS[engine]), again):
            label = manifest["metadata"]["labels"].get(names.KUEUE)
            makes_pods = manifest["kind"] not in {"ConfigMap", "Secret", "Service"}
            assert label == (expected if makes_pods else None), manifest["kind"]
