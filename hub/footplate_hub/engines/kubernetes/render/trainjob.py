"""Kubeflow Trainer: a TrainJob with a runtime of its own, a replicated job for each role.

The runtime says everything, the TrainJob only names it: what Trainer would add for a framework, the agent
brings along.
"""

from __future__ import annotations

from footplate_spec import Role

from ...base import Attempt
from .. import names
from ..manifest import Manifest
from . import job
from .common import Context, pod_template

__all__ = ["FIRST", "INDEX", "again", "over", "refused", "workloads"]

INDEX, FIRST = job.INDEX, job.FIRST
_API = "trainer.kubeflow.org/v1alpha1"
_STEP = "trainer.kubeflow.org/trainjob-ancestor-step"
again, over, refused = job.again, job.over, job.refused  # one replica more is no training of its own


def workloads(attempt: Attempt, context: Context) -> list[Manifest]:
    """The runtime, and the TrainJob."""
    name = names.object_name(attempt.id)
    labels = names.labels(attempt.id, attempt.job)
    first, *rest = attempt.spec.roles
    node = _replicated(attempt, first, "node", context)
    node["template"]["metadata"] = {"labels": {_STEP: "trainer"}}
    jobs = [node, *(_replicated(attempt, role, role.name, context) for role in rest)]
    runtime = {
        "apiVersion": _API,
        "kind": "TrainingRuntime",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "mlPolicy": {"numNodes": first.fewest},
            "template": {"spec": {"replicatedJobs": jobs}},
        },
    }
    training = {
        "apiVersion": _API,
        "kind": "TrainJob",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "runtimeRef": {"apiGroup": _API.partition("/")[0], "kind": "TrainingRuntime", "name": name},
            "trainer": {"numNodes": first.fewest},
        },
    }
    return [runtime, training]


def _replicated(attempt: Attempt, role: Role, name: str, context: Context) -> Manifest:
    template = pod_template(attempt, role, context, INDEX)
    template["spec"]["containers"][0]["name"] = "node"  # the one that Trainer looks for
    return {
        "name": name,
        "replicas": 1,
        "template": {
            "spec": {
                "completionMode": "Indexed",
                "completions": role.fewest,
                "parallelism": role.fewest,
                "backoffLimitPerIndex": 0,
                "template": template,
            }
        },
    }
