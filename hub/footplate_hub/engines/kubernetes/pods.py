"""What a pod's status means to a job: alive, dead and why, or still on its way and why. Pure."""

from __future__ import annotations

from footplate_spec import Cause, CauseCode

from ..base import Observation
from . import names
from .manifest import Manifest

__all__ = ["ended", "index_of", "kept", "observation", "surely_ended"]

_PULLING = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
_INDEXES = (  # the first that is there: as an annotation, or as a label
    names.INDEX,
    "batch.kubernetes.io/job-completion-index",
    "volcano.sh/task-index",
    "training.kubeflow.org/replica-index",
    "replica-index",
)


_KEPT = {
    "metadata": ("name", "namespace", "uid", "resourceVersion", "labels", "annotations"),
    "spec": ("nodeName",),
    "status": ("phase", "reason", "message", "conditions", "containerStatuses"),
}


def kept(pod: Manifest) -> Manifest:
    """What is ever asked of a pod: a tenth of it, which tells where there are ten thousand."""
    return {
        part: {name: pod[part][name] for name in fields if name in pod[part]}
        for part, fields in _KEPT.items()
        if part in pod
    }


def observation(pod: Manifest, *, deleted: bool) -> Observation | None:
    """What to tell of a pod; None if it is none of ours."""
    meta = pod["metadata"]
    labels, index = meta.get("labels") or {}, index_of(pod)
    if names.ATTEMPT not in labels or index is None:
        return None
    dead = deleted or ended(pod)
    return Observation(
        attempt=labels[names.ATTEMPT],
        role=labels[names.ROLE],
        index=index,
        alive=not dead,
        holder=meta["uid"],
        cause=_cause(pod) if dead else None,
        message="" if dead else _message(pod),
    )


def index_of(pod: Manifest) -> int | None:
    """Which replica of its role a pod is."""
    meta = pod["metadata"]
    told = {**(meta.get("labels") or {}), **(meta.get("annotations") or {})}
    index = next((told[name] for name in _INDEXES if name in told), None)
    return None if index is None else int(index) + int(told.get(names.OFFSET, 0))


def surely_ended(pod: Manifest) -> bool:
    """Whether the last word of a pod that is deleted leaves none of its processes alive.

    A deletion by force, or a name taken away from under a kubelet, says nothing of what still runs.
    """
    containers = pod.get("status", {}).get("containerStatuses") or []
    return ended(pod) or not any("running" in container.get("state", {}) for container in containers)


def ended(pod: Manifest) -> bool:
    """Whether none of its processes lives."""
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def _cause(pod: Manifest) -> Cause:
    """Why it ended without its agent saying so."""
    status = pod.get("status", {})
    for condition in status.get("conditions") or []:
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            told = condition.get("message") or condition.get("reason", "")
            return Cause(code=CauseCode.EVICTED, message=f"Kubernetes took its pod away: {told}")
    for container in status.get("containerStatuses") or []:
        end = container.get("state", {}).get("terminated") or {}
        if end.get("reason") == "OOMKilled":
            return Cause(
                code=CauseCode.OUT_OF_MEMORY,
                message="It used more memory than it had asked for and was ended; ask for more memory.",
                exit_code=end.get("exitCode"),
            )
        if end and end.get("exitCode"):
            said = (end.get("message") or end.get("reason") or "").strip().splitlines()[-1:]
            message = f"Its container ended with exit code {end['exitCode']}{': ' + said[0] if said else ''}."
            return Cause(code=CauseCode.PLATFORM_FAULT, message=message, exit_code=end["exitCode"])
    told = status.get("message") or status.get("reason")
    node = pod.get("spec", {}).get("nodeName")
    message = f"Its pod on {node} is gone{': ' + told if told else ''}." if node else "Its pod is gone."
    return Cause(code=CauseCode.NODE_LOST, message=message)


def _message(pod: Manifest) -> str:
    """What it waits for, as Kubernetes says it."""
    status = pod.get("status", {})
    for container in status.get("containerStatuses") or []:
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in _PULLING:
            return (
                f"The image {container.get('image')} cannot be pulled: {waiting.get('message', '')}".strip()
            )
        if waiting.get("message"):
            return f"{waiting.get('reason')}: {waiting['message']}"
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"Kubernetes has not found a place for its pod: {condition.get('message', '')}".strip()
    return ""
