"""The engine that a cluster's settings name."""

from __future__ import annotations

from ..settings import ClusterSettings, Settings
from ..tokens import ReplicaTokens
from .base import Engine
from .local import LocalEngine

__all__ = ["make_engine"]


def make_engine(settings: Settings, cluster: ClusterSettings, tokens: ReplicaTokens) -> Engine:
    """Make it; nothing is connected before it is started."""
    if cluster.kubernetes is None:
        return LocalEngine(settings, cluster, tokens)
    from .kubernetes.engine import KubernetesEngine

    return KubernetesEngine(settings, cluster, tokens)
