"""A gang as Kubernetes' own scheduler knows it, where a server has that: all its pods find nodes, or none."""

from __future__ import annotations

from ...base import Attempt
from .. import names
from ..manifest import Manifest

__all__ = ["API", "join", "podgroup"]

API = "scheduling.k8s.io/v1alpha2"


def podgroup(attempt: Attempt) -> Manifest:
    """The group of all pods of an attempt."""
    return {
        "apiVersion": API,
        "kind": "PodGroup",
        "metadata": {"name": names.object_name(attempt.id), "labels": names.labels(attempt.id, attempt.job)},
        "spec": {"schedulingPolicy": {"gang": {"minCount": attempt.spec.replicas}}},
    }


def join(attempt: Attempt, template: Manifest) -> None:
    """Make pods members of the group."""
    template["spec"]["schedulingGroup"] = {"podGroupName": names.object_name(attempt.id)}
