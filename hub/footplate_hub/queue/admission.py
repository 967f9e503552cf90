"""One workload in its turn: does it start now, and if room is all that it lacks, what is kept for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from footplate_spec.reasons import Reason

from .fit import feasible, fit, replicas_of
from .making_room import MakingRoom, RoomMade, Stoppable
from .model import Admission, Amount, Place, Placement, Reservation, Snapshot, Workload
from .nodes import Nodes, Room
from .policies import policy_at
from .prospects import Prospect, Way
from .quota import lineage
from .standing import Standing
from .ways import demand

__all__ = ["Admitter", "held_at", "held_group"]


class Admitter:
    """Lets workloads start, one by one, and keeps nodes for those who cannot; each changes what stands."""

    def __init__(
        self, snapshot: Snapshot, nodes: Nodes, standing: Standing, stoppable: Stoppable, now: float
    ) -> None:
        self._snapshot = snapshot
        self._making_room = MakingRoom(nodes, standing, stoppable, now)
        self._nodes = nodes
        self._standing = standing
        self._unfit: set[tuple[int, int, bool]] = set()  # prospect, way, whether all that is free was open

    def consider(self, workload: Workload, prospect: Prospect) -> Admission | RoomMade | Reservation | None:
        """Start it; or have others stopped; or, if it is the first that waits for room alone, keep nodes."""
        standing = self._standing
        end = standing.end(workload)
        if self._person_refuses(workload, prospect.gpus, end):
            return None
        short_of_room = []
        ways = [
            way
            for way in prospect.ways
            if held_at(self._snapshot, way.option.cluster) is None and self._affords(workload, way.demand)
        ]
        for way in ways:
            if not standing.quotas.allows(workload.group, way.demand):
                continue
            placements = self._place(workload, prospect, way, end)
            if placements is not None:
                return self._start(workload, prospect, way, placements)
            if (
                not standing.reserved(way.option)
                and prospect.fits(way)
                and not feasible(self._nodes, standing.free, prospect.mask, workload.shape, way.option)
            ):
                short_of_room.append(way)
        made = self._making_room.make(workload, prospect, ways)
        return made if made is not None else self._reserve(workload, prospect, short_of_room)

    def would_start(self, workload: Workload, prospect: Prospect, *, renewed: bool = False) -> bool:
        """Whether `consider` would let it start; nothing changes. ``renewed``: if no budget were short."""
        if workload.waits is not None or held_group(self._snapshot, workload.group) is not None:
            return False
        end = self._standing.end(workload)
        return not self._person_refuses(workload, prospect.gpus, end) and any(
            held_at(self._snapshot, way.option.cluster) is None
            and (renewed or self._affords(workload, way.demand))
            and self._standing.quotas.allows(workload.group, way.demand)
            and self._place(workload, prospect, way, end) is not None
            for way in prospect.ways
        )

    def _affords(self, workload: Workload, asked: Mapping[Place, Amount]) -> bool:
        return self._standing.budgets_open.allows(workload.group, asked, workload.time_limit)

    def _person_refuses(self, workload: Workload, gpus: int, end: float) -> bool:
        return not self._standing.quotas.allows_person(
            workload.group, workload.owner, gpus
        ) or self._standing.kept_person(workload.group, workload.owner, gpus, end)

    def _place(
        self, workload: Workload, prospect: Prospect, way: Way, end: float
    ) -> tuple[Placement, ...] | None:
        standing, key = self._standing, (prospect.number, way.number)
        room = standing.room(way.option, end)
        if room is None or (*key, True) in self._unfit:
            return None
        everything = room is standing.open
        if not everything and (*key, False) in self._unfit:
            return None
        if standing.kept_quota(workload.group, way.demand, end):
            return None
        if len(workload.shape.roles) > 1 or feasible(
            self._nodes, room, prospect.mask, workload.shape, way.option
        ):
            placements = fit(self._nodes, room, prospect.mask, workload.shape, way.option)
            if placements is not None:
                return placements
        # Part of the pools may be open to one and not to the other; only all or nothing is the same for all.
        if everything or room is standing.late:
            self._unfit.add((*key, everything))
        return None

    # Elastic roles

    def _start(
        self, workload: Workload, prospect: Prospect, way: Way, placements: tuple[Placement, ...]
    ) -> Admission:
        counts = list(replicas_of(workload.shape))
        for r in prospect.elastic:
            few, many = counts[r], workload.shape.roles[r].most or 0
            while few < many:  # the most that fit, and that quotas allow
                middle = (few + many + 1) // 2
                more = self._grown(workload, prospect, way, [*counts[:r], middle, *counts[r + 1 :]])
                if more is None:
                    many = middle - 1
                else:
                    few, placements = middle, more
            counts[r] = few
        self._standing.take(workload, way.option, placements)
        return Admission(workload, way.option.cluster, placements)

    def _grown(
        self, workload: Workload, prospect: Prospect, way: Way, counts: Sequence[int]
    ) -> tuple[Placement, ...] | None:
        standing, shape = self._standing, workload.shape
        end = standing.end(workload)
        asked: Mapping[Place, Amount] = demand(shape, way.option, replicas=counts)
        gpus = sum(amount.gpu for amount in asked.values())
        room = standing.room(way.option, end)
        if (
            room is None
            or not standing.quotas.allows(workload.group, asked)
            or standing.kept_quota(workload.group, asked, end)
            or self._person_refuses(workload, gpus, end)
            or not self._affords(workload, asked)
        ):
            return None
        return fit(self._nodes, room, prospect.mask, shape, way.option, replicas=counts)

    # Reservations

    def _reserve(self, workload: Workload, prospect: Prospect, ways: Sequence[Way]) -> Reservation | None:
        """Keep nodes from the earliest time on at which it fits; services in its way never end."""
        standing, shape = self._standing, workload.shape
        best = None
        for way in ways:

            def fits(room: Room, way: Way = way) -> bool:
                return feasible(self._nodes, room, prospect.mask, shape, way.option)

            pools = [self._nodes.pools[place] for place in way.option.places]
            before = math.inf if best is None else best[0]
            found = standing.timeline.earliest(standing.to_reserve(), pools, fits, before)
            if found is not None:
                best = (*found, way)
        for way in ways:
            if not policy_at(self._snapshot, workload.group, way.option.cluster).backfill:
                for place in way.option.places:
                    standing.close(place, workload)
        if best is None:
            return None
        start, room, way = best
        placements = fit(self._nodes, room, prospect.mask, shape, way.option)
        if placements is None:
            return None
        reservation = Reservation(workload.id, start, way.option.cluster, placements)
        standing.reserve(reservation, way.option, room, workload)
        return reservation


def held_at(snapshot: Snapshot, cluster: str) -> Reason | None:
    """Why nothing starts on a cluster, if so."""
    model = snapshot.clusters.get(cluster)
    return model.held if model is not None else None


def held_group(snapshot: Snapshot, group: str) -> Reason | None:
    """Why nothing of a group starts, if so: its own hold, or that of a group above it."""
    for holder in lineage(group):
        model = snapshot.groups.get(holder)
        if model is not None and model.held is not None:
            return model.held
    return None
