"""Plain Kubernetes: an indexed Job for each role, and one more for each replica that is made again.

Kubernetes makes no pod again by itself here: a failed index stays failed. Whether and when a replica runs
again is the service's to say, and a Job's own repetition would wait ten seconds first, then twenty.
"""

from __future__ import annotations

from footplate_spec import JobSpec, Role

from ...base import Attempt, PlacedReplica
from .. import names
from ..manifest import Manifest
from .common import Context, as_again, pod_template
from .podgroup import join, podgroup

__all__ = ["FIRST", "INDEX", "again", "over", "refused", "workloads"]

INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"

FIRST = {"batch.kubernetes.io/job-completion-index": "0"}


def refused(spec: JobSpec) -> str | None:
    """Nothing is."""
    return None


def workloads(attempt: Attempt, context: Context) -> list[Manifest]:
    """A Job for each role, and a group for all their pods where the server knows such."""
    jobs = [
        _job(attempt, role, names.object_name(attempt.id, role.name), role.fewest, context)
        for role in attempt.spec.roles
    ]
    if not context.gangs or attempt.spec.replicas == 1:
        return jobs
    for one in jobs:
        join(attempt, one["spec"]["template"])
    return [podgroup(attempt), *jobs]


def again(attempt: Attempt, role: Role, replica: PlacedReplica, name: str, context: Context) -> Manifest:
    """A Job of one replica."""
    manifest = _job(attempt, role, name, 1, context)
    as_again(manifest["spec"]["template"], replica)
    return manifest


def over(manifest: Manifest) -> bool:
    """Whether it will make no pod any more."""
    return bool(manifest.get("status", {}).get("failed"))


def _job(attempt: Attempt, role: Role, name: str, count: int, context: Context) -> Manifest:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": names.labels(attempt.id, attempt.job, role.name)},
        "spec": {
            "completionMode": "Indexed",
            "completions": count,
            "parallelism": count,
            "backoffLimitPerIndex": 0,
            "template": pod_template(attempt, role, context, INDEX),
        },
    }
