"""What the service wants of one replica, from the records alone."""

from __future__ import annotations

import hashlib

from footplate_spec import REPLICA_FINAL, Desired, JobSpec, Stop

from .life import Key, Life
from .ranks import Meeting, complete

__all__ = ["wanted"]

_SHORT_GRACE = 10  # seconds that peers of a failed replica get: they can save nothing together any more


def wanted(life: Life, spec: JobSpec, key: Key, meeting: Meeting) -> Desired:
    """The answer to an agent; its tag changes with its content and with nothing else."""
    row = life.replicas[key]
    if not life.live:
        return Desired(tag="released", execution=row.execution, release=True)
    stop = None
    if life.job.stopping is not None and row.state not in REPLICA_FINAL:
        stop = Stop.model_validate({"reason": life.job.stopping, "grace": _grace(life, spec)})
    env: dict[str, str] | None = {}
    if len(life.replicas) > 1:
        met = complete(life.replicas)
        env = meeting.environment(spec, life.replicas, key) if met else None
    desired = Desired(tag="", execution=row.execution, stop=stop, env=env, time_limit=life.job.time_limit)
    content = desired.model_dump_json().encode()
    return desired.model_copy(update={"tag": hashlib.blake2s(content, digest_size=8).hexdigest()})


def _grace(life: Life, spec: JobSpec) -> int:
    failing = life.job.stopping == "gang" or (life.job.stopping == "finished" and life.job.cause)
    grace = spec.recovery.checkpoint_grace
    return min(grace, _SHORT_GRACE) if failing else grace
