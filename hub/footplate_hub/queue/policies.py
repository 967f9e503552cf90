"""Which policy holds for whom: the nearest group's, else the cluster's, else first come first served."""

from __future__ import annotations

from collections.abc import Iterable

from .model import Policy, Snapshot
from .quota import lineage

__all__ = ["DEFAULT", "domain", "policy_at"]

DEFAULT = Policy()


def domain(snapshot: Snapshot, group: str, clusters: Iterable[str]) -> tuple[str, Policy]:
    """Among whom a group's workloads are ordered, and how.

    Parameters
    ----------
    clusters
        Those that the workloads may use, in order: the first that has a policy decides, if no group does.

    Returns
    -------
    tuple
        A name that is equal for all who are ordered together, and the policy.
    """
    for holder in lineage(group):
        model = snapshot.groups.get(holder)
        if model is not None and model.policy is not None:
            return f"group {holder}", model.policy
    for name in clusters:
        cluster = snapshot.clusters.get(name)
        if cluster is not None and cluster.policy is not None:
            return f"cluster {name}", cluster.policy
    return "", DEFAULT


def policy_at(snapshot: Snapshot, group: str, cluster: str) -> Policy:
    """The policy for a group's workloads where they wait."""
    return domain(snapshot, group, [cluster])[1]
