"""The engine that a cluster's settings name."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from ..settings import ClusterSettings, Settings
from ..tokens import ReplicaTokens
from .base import Engine, EngineError
from .local import LocalEngine

__all__ = ["check_engines", "make_engine"]


def check_engines(clusters: Sequence[ClusterSettings]) -> None:
    """Refuse clusters whose engine cannot work as this is installed.

    Raises
    ------
    EngineError
        Naming what is missing.
    """
    for cluster in clusters:
        if cluster.kubernetes is not None and importlib.util.find_spec("kubernetes_asyncio") is None:
            raise EngineError(
                f"cluster {cluster.name!r} has engine {cluster.engine}, which needs more packages: "
                "pip install 'footplate[kubernetes]'"
            )


def make_engine(settings: Settings, cluster: ClusterSettings, tokens: ReplicaTokens) -> Engine:
    """Make it; nothing is connected before it is started."""
    if cluster.kubernetes is None:
        return LocalEngine(settings, cluster, tokens)
    from .kubernetes.engine import KubernetesEngine

    return KubernetesEngine(settings, cluster, tokens)
