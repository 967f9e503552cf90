"""All of an attempt: what every engine's has in common, and the workloads of its kind. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from footplate_spec import JobSpec, Role

from ...base import Attempt, PlacedReplica
from .. import names
from ..manifest import Manifest
from . import job, trainjob, vcjob
from .common import Context, meeting_service, root, start_secret
from .pytorchjob import KUBEDL, KUBEFLOW

__all__ = ["KINDS", "Kind", "render", "render_again"]


class Kind(Protocol):
    """A module of this folder.

    Attributes
    ----------
    INDEX
        Field of a pod that says which replica of its role it is.
    FIRST
        Labels of the first pod of each template.
    """

    @property
    def INDEX(self) -> str:  # noqa: N802 - a module's constant
        """As above."""

    @property
    def FIRST(self) -> Mapping[str, str]:  # noqa: N802 - a module's constant
        """As above."""

    def refused(self, spec: JobSpec) -> str | None:
        """What it has no way to run, if the job is that."""

    def workloads(self, attempt: Attempt, context: Context) -> list[Manifest]:
        """What makes the pods of an attempt."""

    def again(
        self, attempt: Attempt, role: Role, replica: PlacedReplica, name: str, context: Context
    ) -> Manifest:
        """What makes another pod of one replica."""

    def over(self, manifest: Manifest) -> bool:
        """Whether such an object will make no pod any more."""


KINDS: dict[str, Kind] = {
    "kubernetes": job,
    "volcano": vcjob,
    "kubeflow": trainjob,
    "kubeflow-v1": KUBEFLOW,
    "kubedl": KUBEDL,
}


def render(attempt: Attempt, context: Context, kind: Kind) -> list[Manifest]:
    """The manifests of an attempt; the first owns the rest."""
    secrets = [start_secret(attempt, role, context) for role in attempt.spec.roles]
    meeting = [meeting_service(attempt, kind.FIRST)] if attempt.spec.replicas > 1 else []
    workloads = [_queued(manifest, context) for manifest in kind.workloads(attempt, context)]
    made = [root(attempt), *secrets, *meeting, *workloads]
    return [_placed(manifest, attempt, context) for manifest in made]


def render_again(
    attempt: Attempt, replica: PlacedReplica, context: Context, kind: Kind, number: int
) -> Manifest:
    """What makes another pod of a replica whose pods have ended; ``number`` tells an execution's apart."""
    [role] = [role for role in attempt.spec.roles if role.name == replica.role]
    name = f"{attempt.id}-{role.name}-{replica.index}-{replica.execution}-{number}"
    made = kind.again(attempt, role, replica, names.short(name), context)
    return _placed(_queued(made, context), attempt, context)


def _queued(manifest: Manifest, context: Context) -> Manifest:
    """What makes pods, under Kueue's control if the cluster has that."""
    if context.settings.local_queue is not None:
        manifest["metadata"]["labels"][names.KUEUE] = context.settings.local_queue
    return manifest


def _placed(manifest: Manifest, attempt: Attempt, context: Context) -> Manifest:
    """The manifest in the namespace of the attempt's group."""
    namespace = context.settings.namespace_of(attempt.group)
    assert namespace is not None, "jobs of such groups are not admitted here"
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}
