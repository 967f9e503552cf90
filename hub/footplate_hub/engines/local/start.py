"""What a replica is told to run: ``start.json``, made from the job, its place and the settings. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from footplate_hub.settings import Settings
from footplate_spec import Node

from ..base import Attempt, EngineError, PlacedReplica

__all__ = ["compose", "folder_of"]


def folder_of(attempt: str, role: str, index: int) -> str:
    """A replica's folder below the replicas' root."""
    return f"{attempt}/{role}-{index}"


def compose(
    settings: Settings,
    attempt: Attempt,
    replica: PlacedReplica,
    *,
    token: str,
    node: Node,
    devices: Sequence[int],
    cpus: Sequence[int],
    cgroups: Sequence[str] | None,
    checkpoint: Path,
    cache: Path,
) -> dict[str, Any]:
    """The document of protocol §3.

    Raises
    ------
    EngineError
        If the job mounts a volume that there is no more.
    """
    spec = attempt.spec
    [role] = [role for role in spec.roles if role.name == replica.role]
    git = spec.source.git
    host = settings.bind_host if settings.bind_host not in {"0.0.0.0", "::"} else "127.0.0.1"  # noqa: S104
    return {
        "version": 1,
        "attempt": attempt.id,
        "attempt_number": attempt.number,
        "job": attempt.job,
        "role": replica.role,
        "replica": replica.index,
        "replicas": role.fewest,
        "execution": replica.execution,
        "user": attempt.owner,
        "group": attempt.group,
        "service": f"http://{host}:{settings.bind_port}{settings.prefix}",
        "token": token,
        "source": spec.source.model_dump(mode="json", exclude_none=True),
        "command": role.command or spec.command,
        "env": {**spec.env, **role.env},
        "secrets": bool(spec.secrets) or (git is not None and git.secret is not None),
        "python": spec.python.model_dump(mode="json", exclude_none=True) if spec.python else None,
        "setup": spec.setup.model_dump(mode="json"),
        "indexes": settings.indexes.model_dump(mode="json"),
        "mounts": _mounts(settings, attempt),
        "gang": spec.replicas > 1,
        "checkpoint": str(checkpoint),
        "cache": str(cache),
        "grace": spec.recovery.checkpoint_grace,
        "time_limit": attempt.time_limit,
        "gpus": list(devices) if not node.declared else list(replica.gpus),
        "declared": node.declared,
        "cpu": role.resources.cpu,
        "memory": role.resources.memory,
        "cpus": list(cpus),
        "cgroup": list(cgroups) if cgroups else None,
        "advisory": not cgroups,
        "address": node.address,
        "log_limit": settings.limits.log,
    }


def _mounts(settings: Settings, attempt: Attempt) -> list[dict[str, str]]:
    volumes = {volume.name: volume for volume in settings.volumes}
    mounts = []
    for mount in attempt.spec.mounts:
        volume = volumes.get(mount.volume)
        open_to = volume.groups if volume is not None else []
        if volume is None or (open_to and not any(_within(attempt.group, group) for group in open_to)):
            raise EngineError(
                f"There is no volume {mount.volume!r} for group {attempt.group} any more.", again=False
            )
        mounts.append({"name": mount.volume, "host": str(volume.path), "path": mount.path})
    return mounts


def _within(group: str, above: str) -> bool:
    return group == above or group.startswith(f"{above}/")
