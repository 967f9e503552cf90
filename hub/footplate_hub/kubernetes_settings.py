"""How the platform's owner says that a Kubernetes cluster is reached and used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from footplate_spec import Submitted, Toleration
from footplate_spec.names import GroupPath, Name

__all__ = ["CheckpointSettings", "KubernetesSettings", "SpreadSettings"]

Namespace = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]


class CheckpointSettings(Submitted):
    """Where checkpoints of a Kubernetes cluster lie: a claim that many nodes may write, or a path on each."""

    what: ClassVar[str] = "checkpoints"
    claim: str | None = None
    host_path: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.claim is None) == (self.host_path is None):
            raise ValueError("checkpoints lie on a 'claim' or a 'host_path'; name one of them")
        return self


class SpreadSettings(Submitted):
    """How the pods of an attempt are spread over the values of a node's label."""

    what: ClassVar[str] = "topology_spread"
    topology_key: Annotated[str, Field(min_length=1)]
    max_skew: Annotated[int, Field(ge=1)] = 1
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = "ScheduleAnyway"


class KubernetesSettings(Submitted):
    """How a Kubernetes cluster is reached and used.

    Parameters
    ----------
    kubeconfig
        A file; unset: the account of the pod that the service runs in.
    namespace
        Where jobs run; it must exist.
    namespaces
        Where jobs of each group and of those below it run instead. With any, groups without one run none.
    qps, burst
        Requests a second that the server is sent in the long run, and how many may go at once.
    image
        What replicas run in: it must have a Python.
    service
        Where pods reach the service; unset: its ``url``.
    flavor_label
        The label of nodes that names their flavor; nodes without it are of flavor ``cpu``.
    gpu
        The extended resource that counts GPUs.
    queue
        Volcano's queue that jobs go to.
    local_queue
        Kueue's queue in the namespace, for clusters where Kueue decides when Jobs may have pods; unset: it
        does not.
    volumes
        The claim behind each of the platform's volumes that jobs here may mount.
    node_selector
        Labels of the nodes that are used; unset: all.
    tolerations
        Taints that all jobs tolerate. A job may tolerate more.
    priority_classes
        The PriorityClass of pods, by the job's priority.
    pull_secrets
        Secrets of the namespace with which images are pulled.
    affinity
        Kubernetes' own, for all pods; which nodes may be used at all is for ``node_selector`` to say, so
        that the queue knows it.
    """

    what: ClassVar[str] = "kubernetes"
    kubeconfig: Path | None = None
    context: str | None = None
    namespace: Namespace = "footplate"
    namespaces: dict[GroupPath, Namespace] = Field(default_factory=dict)
    qps: Annotated[float, Field(gt=0)] = 200.0
    burst: Annotated[int, Field(ge=1)] = 400
    image: Annotated[str, Field(min_length=1)]
    service: str | None = None
    checkpoints: CheckpointSettings | None = None
    flavor_label: str = "footplate/flavor"
    gpu: str = "nvidia.com/gpu"
    queue: str = "default"
    local_queue: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    volumes: dict[Name, str] = Field(default_factory=dict)
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[Toleration] = Field(default_factory=list)
    priority_classes: dict[Name, str] = Field(default_factory=dict)
    runtime_class: str | None = None
    pull_secrets: list[str] = Field(default_factory=list)
    affinity: dict[str, dict[str, Any]] = Field(default_factory=dict)
    topology_spread: list[SpreadSettings] = Field(default_factory=list)

    def namespace_of(self, group: str) -> str | None:
        """Where a group's jobs run, if anywhere here."""
        if not self.namespaces:
            return self.namespace
        while group and group not in self.namespaces:
            group = group.rpartition("/")[0]
        return self.namespaces.get(group)

    @property
    def all_namespaces(self) -> list[str]:
        """Every namespace that jobs may run in."""
        return sorted(set(self.namespaces.values())) or [self.namespace]

    @field_validator("affinity")
    @classmethod
    def _known_to_the_queue(cls, affinity: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        kinds = ("nodeAffinity", "podAffinity", "podAntiAffinity")
        for kind in affinity:
            if kind not in kinds:
                raise ValueError(f"{kind!r} is none of {', '.join(kinds)}")
        if "requiredDuringSchedulingIgnoredDuringExecution" in affinity.get("nodeAffinity", {}):
            raise ValueError("which nodes are used is said in 'node_selector'; nodeAffinity may only prefer")
        return affinity
