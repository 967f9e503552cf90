"""TFJob, as Kubeflow's training operator (v1) and KubeDL know it: roles have TensorFlow's names."""

from __future__ import annotations

from footplate_spec import JobSpec

from ...base import Attempt
from .. import names
from ..manifest import Manifest
from .common import Context, pod_template

__all__ = ["is_tensorflow", "refused", "tfjob"]

_TYPES = {"chief": "Chief", "ps": "PS", "worker": "Worker", "evaluator": "Evaluator"}


def is_tensorflow(spec: JobSpec) -> bool:
    """Whether a job's roles are TensorFlow's, and not workers alone, as other frameworks have them."""
    roles = {role.name for role in spec.roles}
    return roles <= _TYPES.keys() and roles != {"worker"}


def refused(spec: JobSpec) -> str | None:
    """Why such a job cannot be one, if so."""
    several = any(role.name in {"chief", "evaluator"} and role.most > 1 for role in spec.roles)
    return "TFJobs with more than one chief or evaluator" if several else None


def tfjob(attempt: Attempt, context: Context, api: str, index: str, policy: str | None) -> Manifest:
    """The job.

    Parameters
    ----------
    api
        Group and version.
    index
        Field of its pods that counts the replicas of a role.
    policy
        What it calls the fields that say what happens to pods and failures.
    """
    rules: Manifest = {"cleanPodPolicy": "None"}
    spec: Manifest = {"tfReplicaSpecs": {}}
    for role in attempt.spec.roles:
        template = pod_template(attempt, role, context, index)
        template["spec"]["containers"][0]["name"] = "tensorflow"  # the one that the operators look for
        spec["tfReplicaSpecs"][_TYPES[role.name]] = {
            "replicas": role.fewest,
            "restartPolicy": "Never",
            "template": template,
        }
    return {
        "apiVersion": api,
        "kind": "TFJob",
        "metadata": {"name": names.object_name(attempt.id), "labels": names.labels(attempt.id, attempt.job)},
        "spec": spec | ({policy: rules} if policy else rules),
    }
