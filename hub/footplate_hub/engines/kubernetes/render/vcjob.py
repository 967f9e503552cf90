"""Volcano: one job for the whole gang, a task for each role; its scheduler places all pods or none.

No policy of its own repeats or ends anything: what a failure means is the service's to say.
"""

from __future__ import annotations

from footplate_spec import JobSpec, Role

from ...base import Attempt, PlacedReplica
from .. import names
from ..manifest import Manifest
from .common import Context, as_again, pod_template

__all__ = ["FIRST", "INDEX", "again", "over", "refused", "workloads"]

INDEX = "metadata.annotations['volcano.sh/task-index']"
FIRST = {"volcano.sh/task-index": "0"}
_OVER = {"Aborted", "Completed", "Terminated", "Failed"}


def refused(spec: JobSpec) -> str | None:
    """Nothing is."""
    return None


def workloads(attempt: Attempt, context: Context) -> list[Manifest]:
    """One job."""
    roles = [(role, role.fewest) for role in attempt.spec.roles]
    return [_job(attempt, names.object_name(attempt.id), roles, context)]


def again(attempt: Attempt, role: Role, replica: PlacedReplica, name: str, context: Context) -> Manifest:
    """A job of one replica."""
    manifest = _job(attempt, name, [(role, 1)], context)
    as_again(manifest["spec"]["tasks"][0]["template"], replica)
    return manifest


def over(manifest: Manifest) -> bool:
    """Whether it will make no pod any more."""
    status = manifest.get("status", {})
    return bool(status.get("failed")) or status.get("state", {}).get("phase") in _OVER


def _job(attempt: Attempt, name: str, roles: list[tuple[Role, int]], context: Context) -> Manifest:
    return {
        "apiVersion": "batch.volcano.sh/v1alpha1",
        "kind": "Job",
        "metadata": {"name": name, "labels": names.labels(attempt.id, attempt.job)},
        "spec": {
            "schedulerName": "volcano",
            "queue": context.settings.queue,
            "minAvailable": sum(count for _, count in roles),
            "maxRetry": 1,
            "tasks": [
                {
                    "name": role.name,
                    "replicas": count,
                    "template": pod_template(attempt, role, context, INDEX),
                }
                for role, count in roles
            ],
        },
    }
