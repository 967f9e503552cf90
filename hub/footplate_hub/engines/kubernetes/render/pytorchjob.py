"""PyTorchJob, as Kubeflow's training operator (v1) and KubeDL know it: a master, workers, and no other role.

A job whose roles are TensorFlow's is a TFJob instead.

What the operators would do about a failed pod is turned off: what a failure means is the service's to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from footplate_spec import JobSpec, Role

from ...base import Attempt, PlacedReplica
from .. import names
from ..manifest import Manifest
from . import job, tfjob
from .common import Context, pod_template

__all__ = ["KUBEDL", "KUBEFLOW", "Operator"]


@dataclass(frozen=True)
class Operator:
    """One operator's.

    Parameters
    ----------
    api
        Group and version.
    INDEX
        Field of its pods that counts the replicas of a role.
    FIRST
        Labels of those that it counts as the first.
    policy
        What it calls the fields that say what happens to pods and failures.
    """

    api: str
    INDEX: str
    FIRST: Mapping[str, str]
    policy: str | None

    def refused(self, spec: JobSpec) -> str | None:
        """Why such a job cannot be one, if so."""
        if tfjob.is_tensorflow(spec):
            return tfjob.refused(spec)
        if len(spec.roles) == 1 or (len(spec.roles) == 2 and any(role.most == 1 for role in spec.roles)):
            return None
        return "PyTorchJobs for anything but one role, or a master of one replica and workers"

    def workloads(self, attempt: Attempt, context: Context) -> list[Manifest]:
        """The job."""
        if tfjob.is_tensorflow(attempt.spec):
            return [tfjob.tfjob(attempt, context, self.api, self.INDEX, self.policy)]
        rules: Manifest = {"cleanPodPolicy": "None"}
        spec: Manifest = {
            "pytorchReplicaSpecs": {
                kind: {
                    "replicas": count,
                    "restartPolicy": "Never",
                    "template": self._pod(attempt, role, offset, context),
                }
                for kind, role, count, offset in _kinds(attempt.spec)
            }
        }
        spec |= {self.policy: rules} if self.policy else rules
        return [
            {
                "apiVersion": self.api,
                "kind": "PyTorchJob",
                "metadata": {
                    "name": names.object_name(attempt.id),
                    "labels": names.labels(attempt.id, attempt.job),
                },
                "spec": spec,
            }
        ]

    def again(
        self, attempt: Attempt, role: Role, replica: PlacedReplica, name: str, context: Context
    ) -> Manifest:
        """A plain Job: one replica more is no training of its own."""
        manifest = job.again(attempt, role, replica, name, context)
        manifest["spec"]["template"]["metadata"]["labels"] |= self.FIRST if replica.index == 0 else {}
        return manifest

    def over(self, manifest: Manifest) -> bool:
        """Whether such a Job will make no pod any more."""
        return job.over(manifest)

    def _pod(self, attempt: Attempt, role: Role, offset: int, context: Context) -> Manifest:
        template = pod_template(attempt, role, context, self.INDEX, offset)
        template["spec"]["containers"][0]["name"] = "pytorch"  # the one that the operators look for
        return template


def _kinds(spec: JobSpec) -> list[tuple[str, Role, int, int]]:
    """Kind, role, replicas, and which replica of the role is the first: there is always one master.

    KubeDL's controller dies of a job that has none.
    """
    if len(spec.roles) == 1:
        [role] = spec.roles
        workers = [("Worker", role, role.fewest - 1, 1)] if role.fewest > 1 else []
        return [("Master", role, 1, 0), *workers]
    alone = [role for role in spec.roles if role.fewest == 1]
    master = next((role for role in alone if role.name == "master"), alone[0])
    [worker] = [role for role in spec.roles if role is not master]
    return [("Master", master, 1, 0), ("Worker", worker, worker.fewest, 0)]


def _counted(api: str, label: str, policy: str | None) -> Operator:
    return Operator(api, f"metadata.labels['{label}']", {label: "0"}, policy)


KUBEFLOW = _counted("kubeflow.org/v1", "training.kubeflow.org/replica-index", "runPolicy")
KUBEDL = _counted("training.kubedl.io/v1alpha1", "replica-index", None)
