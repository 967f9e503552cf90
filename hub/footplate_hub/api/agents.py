"""What agents say: state, logs, outputs, and the questions that only a replica may ask.

A replica's token opens its own attempt and nothing else: its log, its job's inputs and outputs, the
secrets that the job names. It is dead with its attempt, and the agent then ends itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response

from footplate_spec import Claim, Desired, Granted, Report
from footplate_spec.base import Answer

from ..control import ReplicaContext
from ..identity import IdentityError, header_token
from ..logs import LogId
from ..rooms import Rooms
from ..store import blobs as stored
from ..store import secrets
from ..tokens import ReplicaId
from .blobs import DigestPath, download, upload
from .callers import In
from .checks import secret_names
from .errors import Refusal, not_found
from .trees import keep_tree

__all__ = ["router"]

# Agents send JSON and nothing else, and no browser has their token: no content type is needed.
router = APIRouter(prefix="/agent", tags=["agent"], strict_content_type=False)
_LONGEST_WAIT = 60.0
_GAP = re.compile(r"(\d+)-(\d+)")


@dataclass(frozen=True)
class _Replica:
    id: ReplicaId
    context: ReplicaContext


async def _replica(request: Request, rooms: In) -> _Replica:
    token = header_token(request.headers.get("Authorization"))
    replica = rooms.tokens.verify(token) if token else None
    context = await rooms.control.identify(replica) if replica is not None else None
    if replica is None or context is None:
        raise IdentityError(401, "this token is of no attempt that lives")
    return _Replica(replica, context)


Replica = Annotated[_Replica, Depends(_replica)]


class JobSecrets(Answer):
    """The values that a job names. ``git`` is the secret of its repository: ``{"name", "value"}``."""

    env: dict[str, str]
    files: dict[str, str]
    git: dict[str, str] | None = None


@router.post("/report")
async def report(said: Report, rooms: In, replica: Replica) -> Desired:
    """State, heartbeat, metrics, exit; any of it may be said again."""
    if said.exit is not None and said.exit.files is not None:
        await keep_tree(rooms, replica.context.owner, said.exit.files)
    if said.metrics:
        added = await rooms.metrics.add(
            replica.context.job,
            said.metrics,
            attempt=replica.context.attempt_number,
            role=replica.id.role,
            replica=replica.id.index,
            execution=said.execution,
        )
        if added:
            rooms.bus.nudge(replica.context.job)
    return await rooms.control.report(replica.id, said)


@router.get("/desired")
async def desired(
    rooms: In,
    replica: Replica,
    tag: str = "",
    wait: Annotated[float, Query(ge=0, le=_LONGEST_WAIT)] = 25,
) -> Desired:
    """What is wanted of this replica: at once if ``tag`` differs, else after a change or ``wait`` seconds."""
    return await rooms.control.desired(replica.id, tag, wait)


@router.post("/claim")
async def claim(
    asker: Claim, rooms: In, replica: Replica, wait: Annotated[float, Query(ge=0, le=_LONGEST_WAIT)] = 25
) -> Granted:
    """Ask to be the replica, for a pod that its engine made: the execution that it may carry out."""
    return await rooms.control.claim(replica.id, asker, wait)


@router.put("/logs", status_code=204)
async def logs(
    request: Request,
    rooms: In,
    replica: Replica,
    execution: Annotated[int, Query(ge=1)],
    offset: Annotated[int, Query(ge=0)],
    *,
    gap: Annotated[str | None, Header(alias="Footplate-Log-Gap")] = None,
) -> Response:
    """Append output. ``Footplate-Log-Gap: a-b``, ``a`` being the offset: the agent dropped those bytes."""
    if execution > replica.context.execution:
        raise Refusal(422, f"execution {execution} was not asked for", "execution")
    log = LogId(replica.id.attempt, replica.id.role, replica.id.index, execution)
    skipped_to = _gap(gap, offset)
    size = await rooms.logs.append(log, offset, await request.body(), skipped_to=skipped_to)
    rooms.bus.nudge(replica.context.job)
    return Response(status_code=204, headers={"Log-Size": str(size)})


def _gap(header: str | None, offset: int) -> int | None:
    if header is None:
        return None
    found = _GAP.fullmatch(header.strip())
    if found is None or int(found[1]) != offset or int(found[2]) < offset:
        raise Refusal(422, "Footplate-Log-Gap is '<from>-<to>', and <from> is the offset")
    return int(found[2])


@router.get("/blobs/{digest}")
async def get_blob(
    digest: DigestPath,
    rooms: In,
    replica: Replica,
    *,
    range_: Annotated[str | None, Header(alias="Range")] = None,
) -> Response:
    """What the job refers to, and nothing else."""
    async with rooms.database.read() as connection:
        mine = await stored.refers(connection, replica.context.job, digest)
        size = await stored.stored(connection, digest) if mine else None
    if size is None:
        raise not_found(f"blob {digest} among what {replica.context.job} refers to")
    return await download(rooms, digest, size, range_)


@router.put("/blobs/{digest}")
async def put_blob(
    digest: DigestPath,
    request: Request,
    rooms: In,
    replica: Replica,
    size: Annotated[int, Header(alias="X-Blob-Size", ge=0)],
    *,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """An output, or a piece of one; it belongs to the job's owner."""
    return await upload(
        rooms, replica.context.owner, digest, offset=offset, size=size, pieces=request.stream()
    )


@router.get("/secrets")
async def job_secrets(rooms: In, replica: Replica) -> JobSecrets:
    """The values that this job names."""
    context = replica.context
    values = await _values(rooms, context)
    git = context.spec.source.git
    named = git.secret if git is not None else None
    return JobSecrets(
        env={use.variable: values[use.name] for use in context.spec.secrets if use.as_ == "env"},
        files={use.name: values[use.name] for use in context.spec.secrets if use.as_ == "file"},
        git={"name": named, "value": values[named]} if named is not None else None,
    )


async def _values(rooms: Rooms, context: ReplicaContext) -> dict[str, str]:
    names = secret_names(context.spec)
    async with rooms.database.read() as connection:
        sealed = await secrets.sealed_for(connection, context.owner, context.group, names)
    for name in names:
        if name not in sealed:
            raise Refusal(409, f"secret {name!r} was deleted after the job was submitted", "secret_missing")
    return {name: rooms.sealing.open(value) for name, value in sealed.items()}
