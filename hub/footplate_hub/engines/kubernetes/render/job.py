"""Plain Kubernetes: an indexed Job for each role, and one more for each replica that is made again.

Kubernetes makes no pod again by itself here: a failed index stays failed. Whether and when a replica runs
again is the service's to say, and a Job's own repetition would wait ten seconds first, then twenty.
"""

from __future__ import annotations

from footplate_spec import Role

from ...base import Attempt, PlacedReplica
from .. import names
from ..api import Manifest
from .common import Context, pod_template, root, start_secret

__all__ = ["render", "render_again"]


def render(attempt: Attempt, context: Context) -> list[Manifest]:
    """The manifests of an attempt; the first owns the rest."""
    manifests = [root(attempt)]
    for role in attempt.spec.roles:
        manifests += [start_secret(attempt, role, context), _job(attempt, role, context)]
    return manifests


def render_again(attempt: Attempt, replica: PlacedReplica, context: Context, number: int) -> Manifest:
    """The Job of one replica whose pods so far have ended; ``number`` tells those of one execution apart."""
    [role] = [role for role in attempt.spec.roles if role.name == replica.role]
    manifest = _job(attempt, role, context)
    name = f"{attempt.id}-{role.name}-{replica.index}-{replica.execution}-{number}"
    manifest["metadata"]["name"] = names.short(name)
    manifest["spec"] |= {"completions": 1, "parallelism": 1}
    [container] = manifest["spec"]["template"]["spec"]["containers"]
    container["env"].append({"name": "FOOTPLATE_POD_INDEX", "value": str(replica.index)})
    manifest["spec"]["template"]["metadata"]["annotations"][names.INDEX] = str(replica.index)
    return manifest


def _job(attempt: Attempt, role: Role, context: Context) -> Manifest:
    nodes = sorted({replica.node for replica in attempt.replicas if replica.role == role.name})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.object_name(attempt.id, role.name),
            "labels": names.labels(attempt.id, attempt.job, role.name),
        },
        "spec": {
            "completionMode": "Indexed",
            "completions": role.replicas,
            "parallelism": role.replicas,
            "backoffLimitPerIndex": 0,
            "template": pod_template(attempt, role, context, nodes),
        },
    }
