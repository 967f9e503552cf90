"""What can be known to be wrong with a job before it queues, one sentence each.

A job that can never run as it was asked for is refused here, where its author still looks, and not
explained an hour later. What depends on the state of machines is the queue's to explain.
"""

from __future__ import annotations

from collections.abc import Iterable

from footplate_spec import JobSpec
from footplate_spec.units import format_seconds

from ..engines.kubernetes.render import KINDS
from ..identity import Person
from ..rooms import Rooms
from ..settings import ClusterSettings, VolumeSettings
from .errors import Refusal

__all__ = ["blobs_of", "check", "secret_names", "time_limit_of", "volumes_for"]


def _invalid(sentence: str) -> Refusal:
    return Refusal(422, sentence)


def check(rooms: Rooms, person: Person, spec: JobSpec) -> JobSpec:
    """The spec with its group filled in, and the clusters that can run it.

    Raises
    ------
    Refusal
        With the first thing that is wrong.
    """
    group = _group(rooms, person, spec)
    settings = rooms.settings
    priorities = rooms.control.policies.priorities.priorities
    if spec.priority not in priorities:
        raise _invalid(f"there is no priority {spec.priority!r}; there are {_listed(priorities)}")
    clusters = [cluster.name for cluster in settings.clusters]
    for cluster in spec.clusters:
        if cluster not in clusters:
            raise _invalid(f"there is no cluster {cluster!r}; there are {_listed(clusters)}, or any")
    regions = sorted({cluster.region for cluster in settings.clusters if cluster.region is not None})
    if spec.region != "any" and spec.region not in regions:
        there = f"there are {_listed(regions)}, or any" if regions else "no cluster here names one"
        raise _invalid(f"there is no region {spec.region!r}; {there}")
    _flavors(rooms, spec)
    _mounts(rooms, group, spec)
    time_limit_of(rooms, group, spec)
    return spec.model_copy(update={"group": group, **_where(rooms, group, spec)})


def _where(rooms: Rooms, group: str, spec: JobSpec) -> dict[str, list[str]]:
    """The clusters that are left for a job which asks for what not all of them can give."""
    clusters = {cluster.name: cluster for cluster in rooms.settings.clusters}
    missing = {name: _missing(clusters[name], group, spec) for name in spec.clusters or clusters}
    left = [name for name, lacks in missing.items() if not lacks]
    if not left:
        told = "; ".join(f"{name} has no {' and no '.join(lacks)}" for name, lacks in missing.items())
        raise _invalid(f"no cluster can give what the job asks for: {told}")
    return {"cluster": left} if len(left) < len(missing) else {}


def _missing(cluster: ClusterSettings, group: str, spec: JobSpec) -> list[str]:
    if cluster.kubernetes is None:
        return spec.for_containers
    volumes = cluster.kubernetes.volumes
    lacks = [f"volume {mount.volume!r}" for mount in spec.mounts if mount.volume not in volumes]
    if cluster.kubernetes.namespace_of(group) is None:
        lacks.append(f"namespace for group {group}")
    refused = KINDS[cluster.engine].refused(spec)
    return [*lacks, refused] if refused else lacks


def _group(rooms: Rooms, person: Person, spec: JobSpec) -> str:
    if spec.group is not None:
        if spec.group not in person.groups and not person.admin:
            raise Refusal(
                403,
                f"you are not in group {spec.group!r}; your groups are {_listed(person.groups)}",
                "group",
            )
        return spec.group
    if len(person.groups) == 1:
        return person.groups[0]
    if rooms.settings.default_group in person.groups:
        return rooms.settings.default_group
    raise _invalid(f"you are in several groups; say which one pays: {_listed(person.groups)}")


def time_limit_of(rooms: Rooms, group: str, spec: JobSpec) -> int:
    """The job's time limit: what it asks for, or its group's default.

    Raises
    ------
    Refusal
        If it is above the group's maximum.
    """
    rule = rooms.control.groups.group(group)
    if spec.time_limit is None:
        return min(rule.time_limit, rule.max_time_limit)
    if spec.time_limit > rule.max_time_limit:
        raise _invalid(
            f"a time limit of {format_seconds(spec.time_limit)} is above the most that group {group} may "
            f"ask for, {format_seconds(rule.max_time_limit)}"
        )
    return spec.time_limit


def _flavors(rooms: Rooms, spec: JobSpec) -> None:
    wanted = [flavor for role in spec.roles for flavor in role.resources.flavors]
    if not wanted:
        return
    known = {node.flavor for node in rooms.control.nodes()}
    for cluster in rooms.settings.clusters:
        known |= {node.flavor for node in cluster.nodes or []}
    for flavor in wanted:
        if known and flavor not in known:
            raise _invalid(f"no machine has flavor {flavor!r}; there are {_listed(known)}")


def volumes_for(rooms: Rooms, groups: Iterable[str], *, admin: bool = False) -> list[VolumeSettings]:
    """The volumes that jobs of these groups may mount."""
    mine = set(groups)
    return [
        volume
        for volume in rooms.settings.volumes
        if admin or not volume.groups or not mine.isdisjoint(volume.groups)
    ]


def _mounts(rooms: Rooms, group: str, spec: JobSpec) -> None:
    allowed = [volume.name for volume in volumes_for(rooms, [group])]
    paths: set[str] = set()
    for mount in spec.mounts:
        if mount.volume not in allowed:
            there = f"there are {_listed(allowed)}" if allowed else "there is none"
            raise _invalid(f"group {group} has no volume {mount.volume!r}; {there}")
        if mount.path.rstrip("/") in paths:
            raise _invalid(f"two mounts have the same path {mount.path!r}")
        paths.add(mount.path.rstrip("/"))


def secret_names(spec: JobSpec) -> list[str]:
    """Every secret that the job names."""
    names = [secret.name for secret in spec.secrets]
    if spec.source.git is not None and spec.source.git.secret is not None:
        names.append(spec.source.git.secret)
    return names


def blobs_of(spec: JobSpec) -> list[str]:
    """Every blob that the job names; a workspace's tree keeps its files itself."""
    digests = []
    if spec.source.workspace is not None:
        digests.append(spec.source.workspace.digest)
    if spec.source.function is not None:
        function = spec.source.function
        digests += [function.payload.digest, *(value.digest for value in function.inputs.values())]
    if spec.python is not None and spec.python.packages is not None:
        digests.append(spec.python.packages)
    return digests


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
