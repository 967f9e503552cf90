"""Changes that the queue found, as changes of the spec: only those that the job may really make."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from footplate_spec import Fix, JobSpec, Role
from footplate_spec.units import format_about, format_bytes, format_cpu, parse_bytes

from ..identity import Person
from ..queue import advise
from ..queue.changes import Freedom
from ..queue.model import RoleShape, Workload
from ..rooms import Rooms
from .checks import check
from .errors import Refusal

__all__ = ["freedom_of", "offered", "spec_patch"]


def freedom_of(spec: JobSpec, person: Person) -> Freedom:
    """What of a job may be changed. A function is one process wherever it runs: it is not split."""
    return Freedom(groups=tuple(sorted(person.groups)), split=spec.source.function is None)


def offered(
    rooms: Rooms, person: Person, spec: JobSpec, workload: Workload, fixes: Iterable[advise.Fix]
) -> list[Fix]:
    """Fixes for a person; one that the platform would refuse for another reason is left out."""
    found, now = [], time.time()
    for fix in fixes:
        change = spec_patch(spec, workload, fix.workload)
        if change and not _accepted(rooms, person, spec, change):
            continue
        when = "starts now"
        if fix.start is not None:
            when = f"starts within {format_about(fix.start - now)}"
        start = None if fix.start is None else datetime.fromtimestamp(fix.start, UTC)
        found.append(Fix(kind=fix.kind, sentence=f"{fix.says}: {when}", start=start, change=change))
    return found


def _accepted(rooms: Rooms, person: Person, spec: JobSpec, change: dict[str, Any]) -> bool:
    try:
        changed = JobSpec.model_validate({**spec.model_dump(by_alias=True, mode="json"), **change})
        check(rooms, person, changed)
    except (ValidationError, Refusal):
        return False
    return True


def spec_patch(spec: JobSpec, before: Workload, after: Workload) -> dict[str, Any]:
    """The fields of a spec that make one workload the other."""
    was, now = before.shape, after.shape
    patch: dict[str, Any] = {}
    if after.group != before.group:
        patch["group"] = after.group
    # Each group has a default of its own: what was tried is this one.
    if after.time_limit != before.time_limit or (after.group != before.group and spec.time_limit is None):
        patch["time_limit"] = after.time_limit
    if now.clusters != was.clusters:
        patch["cluster"] = list(now.clusters) if len(now.clusters) > 1 else now.clusters[0]
    if (now.exclude_nodes, now.exclude_addresses) != (was.exclude_nodes, was.exclude_addresses):
        patch["exclude"] = {"nodes": sorted(now.exclude_nodes), "addresses": sorted(now.exclude_addresses)}
    if (now.labels, now.topology) != (was.labels, was.topology):
        placement = spec.placement.model_dump(by_alias=True, mode="json", exclude_unset=True)
        patch["placement"] = {**placement, "nodes": dict(now.labels)}
        if now.topology != was.topology:
            patch["placement"]["topology"] = now.topology
    if now.region != was.region:
        patch["region"] = now.region or "any"
    if now.roles != was.roles:
        changed = {role.name: role for role in now.roles}
        same = {role.name: role for role in was.roles}
        patch["roles"] = [_role(role, same[role.name], changed[role.name]) for role in spec.roles]
    return patch


def _role(role: Role, was: RoleShape, now: RoleShape) -> dict[str, Any]:
    written = role.model_dump(by_alias=True, mode="json", exclude_unset=True)
    if now.replicas != was.replicas:
        written["replicas"] = now.replicas if now.most is None else {"min": now.replicas, "max": now.most}
    resources = dict(written.get("resources", {}))
    if now.need.gpu != was.need.gpu:
        resources["gpu"] = now.need.gpu
    if now.need.cpu != was.need.cpu:
        resources["cpu"] = format_cpu(now.need.cpu)
    if now.need.memory != was.need.memory:
        resources["memory"] = _bytes(now.need.memory)
    if now.flavors != was.flavors:
        resources["flavor"] = list(now.flavors) if len(now.flavors) > 1 else now.flavors[0]
    return {**written, "resources": resources} if resources else written


def _bytes(amount: int) -> str | int:
    """As people write it, where that is exact."""
    text = format_bytes(amount)
    return text if parse_bytes(text) == amount else amount
