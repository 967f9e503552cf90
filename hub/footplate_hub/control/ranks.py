"""What the processes of a gang must know of each other: ranks, the meeting point, the topology. Pure.

Ranks are ordered by node, rank 0 being replica 0 of the leading role. Every replica is one "node" to the
frameworks: it sees its own devices only, so its local rank is 0, and ``torchrun`` inside it (which reads
``PET_*``) starts one process for each of its GPUs. Where replicas share a machine, the topology says so.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping

from footplate_spec import REPLICA_FINAL, JobSpec, ReplicaState

from ..store.attempts import ReplicaRecord
from .life import Key

__all__ = ["Meeting", "complete", "environment", "places", "ranked"]

_OF_TENSORFLOW = {"chief", "ps", "worker", "evaluator"}
_PORT = 29500
_MET = {ReplicaState.READY, ReplicaState.RUNNING, *REPLICA_FINAL}


def complete(replicas: Mapping[Key, ReplicaRecord]) -> bool:
    """Whether every replica has arrived: nobody is still being prepared."""
    return all(row.state in _MET for row in replicas.values())


def places(replicas: Mapping[Key, ReplicaRecord]) -> tuple[tuple[str | None, int | None], ...]:
    """Where everybody can be met: while this stays, so does the rendezvous."""
    return tuple((row.address, row.port) for row in replicas.values())


def ranked(spec: JobSpec, replicas: Mapping[Key, ReplicaRecord]) -> list[ReplicaRecord]:
    """Replicas by rank."""
    roles = [role.name for role in spec.roles]
    lead = spec.leading_role
    roles.sort(key=lambda name: name != lead)
    rows = sorted(replicas.values(), key=lambda row: (roles.index(row.role), row.index))
    nodes: list[str] = []
    for row in rows:
        if row.node not in nodes:
            nodes.append(row.node)
    return sorted(rows, key=lambda row: nodes.index(row.node))


def environment(spec: JobSpec, replicas: Mapping[Key, ReplicaRecord]) -> dict[Key, dict[str, str]]:
    """The rendezvous variables of every replica of a complete gang."""
    rows = ranked(spec, replicas)
    addresses = [row.address or "127.0.0.1" for row in rows]
    common = {
        "MASTER_ADDR": addresses[0],
        "MASTER_PORT": str(rows[0].port or _PORT),
        "WORLD_SIZE": str(len(rows)),
        "PET_NNODES": str(len(rows)),
        "PET_MASTER_ADDR": addresses[0],
        "PET_MASTER_PORT": str(rows[0].port or _PORT),
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "1",
        "FOOTPLATE_TOPOLOGY": _topology(rows, addresses),
    }
    if all(_is_loopback(address) for address in addresses):
        common |= {"NCCL_SOCKET_IFNAME": "lo", "GLOO_SOCKET_IFNAME": "lo"}
    tensorflow = _tensorflow(spec, rows, addresses)
    gpus = {role.name: role.resources.gpu for role in spec.roles}
    return {
        (row.role, row.index): common
        | {
            "RANK": str(rank),
            "NODE_RANK": str(rank),
            "GROUP_RANK": str(rank),
            "PET_NODE_RANK": str(rank),
            "PET_NPROC_PER_NODE": str(max(gpus[row.role], 1)),
        }
        | ({"TF_CONFIG": _task(tensorflow, row)} if tensorflow else {})
        for rank, row in enumerate(rows)
    }


def _tensorflow(
    spec: JobSpec, rows: list[ReplicaRecord], addresses: list[str]
) -> dict[str, list[str]] | None:
    """Who is where, as TensorFlow wants it, of a job with its roles."""
    roles = {role.name for role in spec.roles}
    if not roles <= _OF_TENSORFLOW or roles == {"worker"}:
        return None
    where = {
        (row.role, row.index): f"{address}:{row.port or _PORT}"
        for row, address in zip(rows, addresses, strict=True)
    }
    return {role: [where[key] for key in sorted(where) if key[0] == role] for role in sorted(roles)}


def _task(cluster: dict[str, list[str]], row: ReplicaRecord) -> str:
    """``TF_CONFIG`` of one replica; the evaluator is no part of the cluster."""
    members = {role: places for role, places in cluster.items() if role != "evaluator"}
    return json.dumps({"cluster": members, "task": {"type": row.role, "index": row.index}})


class Meeting:
    """A gang's rendezvous, worked out once for everybody who asks."""

    __slots__ = ("_attempt", "_environment", "_places")

    def __init__(self) -> None:
        self._places: tuple[tuple[str | None, int | None], ...] | None = None
        self._attempt = ""
        self._environment: dict[Key, dict[str, str]] = {}

    def environment(self, spec: JobSpec, replicas: Mapping[Key, ReplicaRecord], key: Key) -> dict[str, str]:
        """The variables of one replica."""
        attempt, now = replicas[key].attempt, places(replicas)
        if (attempt, now) != (self._attempt, self._places):
            self._attempt, self._places = attempt, now
            self._environment = environment(spec, replicas)
        return self._environment[key]


def _topology(rows: list[ReplicaRecord], addresses: list[str]) -> str:
    replicas = [
        {
            "rank": rank,
            "role": row.role,
            "replica": row.index,
            "node": row.node,
            "address": address,
            "gpus": list(row.gpus),
        }
        for rank, (row, address) in enumerate(zip(rows, addresses, strict=True))
    ]
    return json.dumps({"replicas": replicas}, separators=(",", ":"))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
