"""What the pods of every kind have in common: the agent in front, the start, the places to write. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from footplate_hub.settings import KubernetesSettings
from footplate_spec import Role

from ...base import Attempt, PlacedReplica
from .. import names
from ..manifest import Manifest
from .scheduling import affinity, scheduling

__all__ = ["MOUNTED", "Context", "as_again", "meeting_service", "pod_template", "root", "start_secret"]

MOUNTED = "/footplate"
_RUN, _CACHE, _CHECKPOINTS = f"{MOUNTED}/run", f"{MOUNTED}/cache", f"{MOUNTED}/checkpoints"
_VOLUMES = f"{MOUNTED}/volumes"
_OFFSET = f"metadata.annotations['{names.OFFSET}']"
_FIELDS = (("OFFSET", _OFFSET), ("UID", "metadata.uid"), ("NODE", "spec.nodeName"), ("IP", "status.podIP"))
_PORT = 29500  # where rank 0 is met: a pod has all its ports to itself
_MARGIN = 30  # seconds for the agent to upload after the program's grace


@dataclass(frozen=True)
class Context:
    """What rendering needs beside the attempt.

    Parameters
    ----------
    agent
        Name of the ConfigMap that holds the agent.
    service
        Where pods reach the service.
    tokens
        By role and index.
    indexes, log_limit
        As the service's settings say.
    gangs
        Whether the server has pod groups of its own.
    """

    settings: KubernetesSettings
    agent: str
    service: str
    tokens: Mapping[tuple[str, int], str]
    indexes: Mapping[str, Any]
    log_limit: int
    gangs: bool = False


def root(attempt: Attempt) -> Manifest:
    """What owns everything of an attempt: to delete it is to delete all."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.object_name(attempt.id),
            "labels": names.labels(attempt.id, attempt.job),
            "annotations": {names.GROUP: attempt.group, names.OWNER: attempt.owner},
        },
        "immutable": True,
    }


def start_secret(attempt: Attempt, role: Role, context: Context) -> Manifest:
    """What the agents of a role's pods begin with; a secret, because tokens are in it."""
    data = {"start.json": json.dumps(_start(attempt, role, context)).encode()}
    for index in range(role.fewest):
        data[f"token-{index}"] = context.tokens[role.name, index].encode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names.object_name(attempt.id, role.name),
            "labels": names.labels(attempt.id, attempt.job, role.name),
        },
        "type": "Opaque",
        "immutable": True,
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
    }


def meeting_service(attempt: Attempt, first: Mapping[str, str]) -> Manifest:
    """The name under which a gang meets: it leads to whichever pod is its first replica now.

    Parameters
    ----------
    first
        Labels of those pods that are the first of their template.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": names.meeting(attempt.id), "labels": names.labels(attempt.id, attempt.job)},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {names.ATTEMPT: attempt.id, names.FIRST: "true", **first},
            "ports": [{"name": "meeting", "port": _PORT}],
        },
    }


def _start(attempt: Attempt, role: Role, context: Context) -> dict[str, Any]:
    spec = attempt.spec
    git = spec.source.git
    checkpoint = f"{_CHECKPOINTS}/{attempt.job}" if context.settings.checkpoints else ""
    return {
        "version": 1,
        "attempt": attempt.id,
        "attempt_number": attempt.number,
        "job": attempt.job,
        "role": role.name,
        "replicas": role.fewest,
        "execution": 1,
        "user": attempt.owner,
        "group": attempt.group,
        "service": context.service,
        "source": spec.source.model_dump(mode="json", exclude_none=True),
        "command": role.command or spec.command,
        "env": {**spec.env, **role.env},
        "secrets": bool(spec.secrets) or (git is not None and git.secret is not None),
        "python": {"version": spec.python.version} if spec.python else None,
        "setup": spec.setup.model_dump(mode="json"),
        "indexes": dict(context.indexes),
        "mounts": [
            {"name": mount.volume, "host": f"{_VOLUMES}/{mount.volume}", "path": mount.path}
            for mount in spec.mounts
        ],
        "gang": spec.replicas > 1,
        "meeting": {"name": names.meeting(attempt.id), "port": _PORT},
        "run": _RUN,
        "cache": _CACHE,
        "checkpoint": checkpoint or f"{_RUN}/checkpoint",
        "grace": spec.recovery.checkpoint_grace,
        "fence_after": None if spec.recovery.fence_after == "never" else spec.recovery.fence_after,
        "time_limit": attempt.time_limit,
        "devices_shown": True,
        "cpu": role.resources.cpu,
        "memory": role.resources.memory,
        "log_limit": context.log_limit,
    }


def pod_template(attempt: Attempt, role: Role, context: Context, index: str, offset: int = 0) -> Manifest:
    """A role's pod, on one of the nodes that the queue chose.

    Parameters
    ----------
    index, offset
        The field of the pod that says which replica it is, counted from ``offset``.
    """
    nodes = sorted({replica.node for replica in attempt.replicas if replica.role == role.name})
    labels = attempt.spec.placement.labels | names.labels(attempt.id, attempt.job, role.name)
    if role.name == attempt.spec.leading_role and offset == 0:
        labels[names.FIRST] = "true"
    return {
        "metadata": {
            "labels": labels,
            "annotations": {**attempt.spec.placement.annotations, names.OFFSET: str(offset)},
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": attempt.spec.recovery.checkpoint_grace + _MARGIN,
            "affinity": affinity(context.settings, nodes),
            "containers": [_container(attempt, role, context, index)],
            "volumes": _volumes(attempt, role, context),
            **scheduling(attempt, context.settings),
        },
    }


def as_again(template: Manifest, replica: PlacedReplica) -> None:
    """Make a pod the only one of its workload, and let it know which replica it is all the same."""
    if replica.index > 0:
        template["metadata"]["labels"].pop(names.FIRST, None)
    template["metadata"]["annotations"] |= {names.INDEX: str(replica.index), names.OFFSET: "0"}
    [container] = template["spec"]["containers"]
    for variable in container["env"]:
        if variable["name"] == "FOOTPLATE_POD_INDEX":
            variable["valueFrom"]["fieldRef"]["fieldPath"] = f"metadata.annotations['{names.INDEX}']"


def _container(attempt: Attempt, role: Role, context: Context, index: str) -> Manifest:
    need = role.resources
    limits: dict[str, str] = {"memory": str(need.memory)}
    if need.gpu:
        limits[context.settings.gpu] = str(need.gpu)
    limits |= {name: str(count) for name, count in need.extended.items()}
    mounts = [
        {"name": "agent", "mountPath": f"{MOUNTED}/agent", "readOnly": True},
        {"name": "start", "mountPath": f"{MOUNTED}/start", "readOnly": True},
        {"name": "run", "mountPath": _RUN},
        {"name": "cache", "mountPath": _CACHE},
    ]
    mounts += [{"name": f"volume-{name}", "mountPath": f"{_VOLUMES}/{name}"} for name in _mounted(attempt)]
    if need.shm:
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108 - the container's own
    if context.settings.checkpoints:
        mounts.append({"name": "checkpoints", "mountPath": _CHECKPOINTS})
    return {
        "name": "main",
        "image": role.image or attempt.spec.image or context.settings.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", f"{MOUNTED}/agent/agent.pyz", "pod", f"{MOUNTED}/start"],
        "env": [
            {"name": f"FOOTPLATE_POD_{name}", "valueFrom": {"fieldRef": {"fieldPath": path}}}
            for name, path in (*_FIELDS, ("INDEX", index))
        ],
        "resources": {"requests": {"cpu": f"{need.cpu}m", **limits}, "limits": limits},
        "volumeMounts": mounts,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _volumes(attempt: Attempt, role: Role, context: Context) -> list[Manifest]:
    volumes: list[Manifest] = [
        {"name": "agent", "configMap": {"name": context.agent}},
        {
            "name": "start",
            "secret": {"secretName": names.object_name(attempt.id, role.name), "defaultMode": 0o400},
        },
        {"name": "run", "emptyDir": {}},
        {"name": "cache", "emptyDir": {}},
    ]
    for name in _mounted(attempt):
        claim = {"claimName": context.settings.volumes[name]}
        volumes.append({"name": f"volume-{name}", "persistentVolumeClaim": claim})
    if role.resources.shm:
        size = str(role.resources.shm)
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": size}})
    checkpoints = context.settings.checkpoints
    if checkpoints is not None and checkpoints.claim is not None:
        volumes.append({"name": "checkpoints", "persistentVolumeClaim": {"claimName": checkpoints.claim}})
    elif checkpoints is not None:
        host = {"path": checkpoints.host_path, "type": "DirectoryOrCreate"}
        volumes.append({"name": "checkpoints", "hostPath": host})
    return volumes


def _mounted(attempt: Attempt) -> list[str]:
    return sorted({mount.volume for mount in attempt.spec.mounts})
