"""Fixes held to their word: each is applied, and the pass asked again.

A change must start the workload now; waiting must start it, at the time given at the latest, when all that
runs and starts now ends by its limit and nobody else comes. A fix changes what it says and nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import fields, replace

from footplate_hub.queue.advise import Fix
from footplate_hub.queue.changes import Freedom
from footplate_hub.queue.model import Snapshot, Workload
from footplate_hub.queue.schedule import Pass, schedule

from .ledger import Chunk
from .room import NEVER, ends_of
from .story import Story
from .worlds import GROUPS, NOW, random_world

__all__ = ["prove"]

FREEDOM = Freedom(groups=GROUPS, split=True)
ASKED = 3  # workloads of one world that ask for fixes
MAY_CHANGE = {
    "flavor": {"roles"},
    "group": {"group"},
    "cluster": {"clusters"},
    "split": {"roles"},
    "exclude": {"exclude_nodes", "exclude_addresses"},
    "labels": {"labels"},
    "topology": {"topology"},
    "region": {"region"},
    "time_limit": {"time_limit"},
    "replicas": {"roles"},
    "resources": {"roles"},
    "wait": set(),
}


def prove(seed: int) -> Chunk:
    """Ask for the fixes of a few who wait in one random world, and apply each."""
    chunk = Chunk()
    world = random_world(random.Random(seed))
    current = Pass(world, NOW)
    plan = current.plan()
    advisor = current.advisor()
    chunk.counts["worlds"] += 1
    for blocked in plan.blocked[:ASKED]:
        workload = blocked.workloads[0]
        fixes = advisor.fixes(workload, FREEDOM)
        chunk.counts["asked"] += 1
        chunk.counts["helped"] += bool(fixes)
        for fix in fixes:
            chunk.counts["fixes"] += 1
            held = _waiting_helps(world, fix) if fix.kind == "wait" else _starts(world, fix)
            if held:
                chunk.counts["kept"] += 1
            else:
                chunk.found(f"not kept: {fix.kind}", f"seed {seed}: {workload.id}: {fix.says}")
            for name in _unsaid(workload, fix):
                chunk.found(
                    f"violated: a fix changes {name} unsaid", f"seed {seed}: {workload.id}: {fix.says}"
                )
    return chunk


def _starts(world: Snapshot, fix: Fix) -> bool:
    waiting = [w if w.id != fix.workload.id else fix.workload for line in world.lines for w in line.workloads]
    plan = schedule(replace(world, lines=Snapshot.lines_of(waiting)), NOW)
    return fix.workload.id in {admission.workload.id for admission in plan.admit}


def _waiting_helps(world: Snapshot, fix: Fix) -> bool:
    """Go from end to end until it starts; nobody ends before the limits say, but who is told to stop."""
    story = Story(world.nodes, world.groups, world.clusters)
    story.submit(w for line in world.lines for w in line.workloads)
    story.running = {
        r.id: replace(r, ends=ends) if (ends := ends_of(r, NOW)) != NEVER else r for r in world.running
    }
    while story.now <= (fix.start or NOW):
        story.step()
        if fix.workload.id in story.running:
            return True
        for attempt in list(story.running.values()):
            if attempt.stopping:
                story.end(attempt.id)
                break
        else:
            later = [end for r in story.running.values() if (end := ends_of(r, story.now)) != NEVER]
            if not later:
                return False
            story.now = min(later)
            for name in [r.id for r in story.running.values() if ends_of(r, story.now) <= story.now]:
                story.end(name)
    return False


def _unsaid(workload: Workload, fix: Fix) -> Iterator[str]:
    """What a fix changes beyond its kind; where two changes are offered, less of something is the second."""
    may = MAY_CHANGE[fix.kind] | ({"roles"} if ", and " in fix.says else set())
    for old, new in ((workload, fix.workload), (workload.shape, fix.workload.shape)):
        for field in fields(old):
            differs = getattr(old, field.name) != getattr(new, field.name)
            if field.name != "shape" and differs and field.name not in may:
                yield field.name
