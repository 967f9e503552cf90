"""Attempts as the queue admits them, and what rendering needs beside them."""

from __future__ import annotations

from typing import Any

from footplate_hub.engines import Attempt, PlacedReplica
from footplate_hub.engines.kubernetes.render import Context
from footplate_hub.settings import KubernetesSettings
from footplate_spec import JobSpec

__all__ = ["attempt", "context"]


def attempt(job: str = "digits-7k3f9m", nodes: tuple[str, ...] = ("n1", "n2"), **fields: Any) -> Attempt:
    spec = JobSpec.model_validate({"command": ["true"], "group": "research", **fields})
    replicas = [(role.name, index) for role in spec.roles for index in range(role.replicas)]
    placed = [
        PlacedReplica(role, index, nodes[number % len(nodes)])
        for number, (role, index) in enumerate(replicas)
    ]
    return Attempt(f"{job}-a1", job, 1, "ada", "research", spec, 3600, tuple(placed))


def context(of: Attempt, **settings: Any) -> Context:
    made = KubernetesSettings.model_validate({"image": "py:3.11", **settings})
    tokens = {
        (replica.role, replica.index): f"token of {replica.role} {replica.index}" for replica in of.replicas
    }
    return Context(made, "footplate-agent-1", "http://service/", tokens, {}, 1000)
