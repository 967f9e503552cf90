"""Wires the rooms together, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from footplate_spec import EventKind, __version__

from .api import (
    agents,
    blobs,
    checking,
    clusters,
    errors,
    etas,
    events,
    following,
    groups,
    holds,
    jobs,
    login,
    logs,
    nodes,
    secrets,
)
from .api.bodies import BodyLimit
from .api.standby import StandbyGate
from .api.versions import VersionGate
from .blobs import Blobs
from .bus import EventBus
from .control import Control
from .identity import HubIdentity, Identity
from .logs import Logs
from .metrics import Metrics
from .retention import Retention
from .rooms import Rooms
from .sealing import Sealing
from .settings import Settings
from .store import Database, Transaction
from .store.migrations import upgrade
from .tokens import ReplicaTokens

__all__ = ["create_app", "described"]


def create_app(
    settings: Settings, identity: Identity | None = None, control: Control | None = None
) -> FastAPI:
    """The service, to be run by one ASGI server.

    Parameters
    ----------
    identity
        Unset: JupyterHub, as the environment describes it.
    control
        Unset: the loops over this service's own database.
    """
    app = described(settings)
    app.state.rooms = _rooms(settings, identity, control)
    return app


def described(settings: Settings) -> FastAPI:
    """The service's calls, with nothing behind them yet: what its OpenAPI is made from."""
    app = FastAPI(
        title="Footplate",
        version=__version__,
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{settings.prefix}openapi.json",
        telemetry={"tracing": False, "metrics": False, "logs": False},  # errors hold what is people's own
        responses={"4XX": {"model": errors.Problem}, 422: {"model": errors.Problem}},
    )
    prefix = settings.prefix.rstrip("/")
    resources = (
        login, jobs, checking, following, logs, events, blobs, groups, clusters, holds, nodes, etas, secrets,
        agents,
    )  # fmt: skip
    for room in resources:
        app.include_router(room.router, prefix=prefix)
    errors.install(app)
    streamed = (f"{prefix}/blobs/", f"{prefix}/agent/blobs/")
    app.add_middleware(BodyLimit, limit=settings.limits.request, streamed=streamed)
    app.add_middleware(StandbyGate, prefix=settings.prefix)
    app.add_middleware(VersionGate, agents=f"{prefix}/agent/")
    return app


def _rooms(settings: Settings, identity: Identity | None, control: Control | None) -> Rooms:
    bus = EventBus()
    database = Database(settings.database_url, on_events=bus.publish)
    tokens = ReplicaTokens(settings.data / "replicas.key")
    return Rooms(
        settings=settings,
        database=database,
        bus=bus,
        blobs=Blobs(settings.data, settings.limits.disk_free),
        logs=Logs(settings.data, settings.limits.log),
        metrics=Metrics(settings.data),
        sealing=Sealing(settings.data / "seal.key"),
        tokens=tokens,
        identity=identity or HubIdentity(settings.default_group),
        control=control or Control(settings, database, tokens),
    )


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    rooms: Rooms = app.state.rooms
    await upgrade(rooms.settings.database_url)
    await rooms.database.start()

    async def started(t: Transaction) -> None:
        t.record(EventKind.SERVICE_STARTED, "service", data={"version": __version__})

    retention = Retention(rooms)
    try:
        await rooms.database.write(started)
        await rooms.control.start()
        retention.start()
        yield
    finally:
        rooms.bus.close()
        await retention.stop()
        await rooms.control.stop()
        await rooms.database.close()
