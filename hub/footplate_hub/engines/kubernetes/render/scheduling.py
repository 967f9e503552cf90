"""What a pod says to Kubernetes' scheduler: the queue's nodes, and the cluster's own customs. Pure."""

from __future__ import annotations

from footplate_hub.settings import KubernetesSettings
from footplate_spec import Toleration

from ...base import Attempt
from .. import names
from ..manifest import Manifest

__all__ = ["affinity", "scheduling"]


def affinity(settings: KubernetesSettings, nodes: list[str]) -> Manifest:
    """The nodes that the queue chose, any place among them; beside it what the cluster's settings prefer."""
    chosen = {"key": "kubernetes.io/hostname", "operator": "In", "values": nodes}
    required = {"nodeSelectorTerms": [{"matchExpressions": [chosen]}]}
    return {
        **settings.affinity,
        "nodeAffinity": {
            **settings.affinity.get("nodeAffinity", {}),
            "requiredDuringSchedulingIgnoredDuringExecution": required,
        },
    }


def scheduling(attempt: Attempt, settings: KubernetesSettings) -> Manifest:
    """Fields of a pod that are there only where somebody asked for them."""
    tolerations = [*settings.tolerations, *attempt.spec.placement.tolerations]
    fields = {
        "tolerations": [_toleration(toleration) for toleration in tolerations],
        "priorityClassName": settings.priority_classes.get(attempt.spec.priority),
        "runtimeClassName": settings.runtime_class,
        "imagePullSecrets": [{"name": name} for name in settings.pull_secrets],
        "topologySpreadConstraints": [
            {
                "topologyKey": spread.topology_key,
                "maxSkew": spread.max_skew,
                "whenUnsatisfiable": spread.when_unsatisfiable,
                "labelSelector": {"matchLabels": {names.ATTEMPT: attempt.id}},
            }
            for spread in settings.topology_spread
        ],
    }
    return {name: value for name, value in fields.items() if value}


def _toleration(toleration: Toleration) -> Manifest:
    found: Manifest = {"key": toleration.key, "operator": "Exists" if toleration.value is None else "Equal"}
    found |= {"value": toleration.value} if toleration.value is not None else {}
    return found | ({"effect": toleration.effect} if toleration.effect is not None else {})
