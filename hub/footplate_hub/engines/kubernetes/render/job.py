"""Plain Kubernetes: an indexed Job for each role.

Kubernetes makes a pod again whose machine died, as often as it takes: whether the new one may run anything
is the service's to say, and it counts restarts. So nothing here ends a job because a pod failed.
"""

from __future__ import annotations

from footplate_spec import Role

from ...base import Attempt
from .. import names
from ..api import Manifest
from .common import Context, pod_template, root, start_secret

__all__ = ["render"]

_FOR_EVER = 2**31 - 1


def render(attempt: Attempt, context: Context) -> list[Manifest]:
    """The manifests of an attempt; the first owns the rest."""
    manifests = [root(attempt)]
    for role in attempt.spec.roles:
        manifests += [start_secret(attempt, role, context), _job(attempt, role, context)]
    return manifests


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
            # A failure that counts would also make the next pod wait, twice as long each time.
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {"action": "Ignore", "onExitCodes": {"operator": "NotIn", "values": [0]}},
                ]
            },
            "backoffLimit": _FOR_EVER,
            "podReplacementPolicy": "Failed",
            "template": pod_template(attempt, role, context, nodes),
        },
    }
