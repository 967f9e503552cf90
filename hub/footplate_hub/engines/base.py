"""What an engine is: a place's way to run attempts. Level-triggered, so that it may be asked again.

An engine promises: ``apply`` twice starts nothing twice; ``delete`` returns only when no process of the
attempt is left; ``observe`` tells everything that is there before it tells what changes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from footplate_spec import Cause, CauseCode, JobSpec, Node

__all__ = ["Attempt", "Complaint", "Engine", "EngineError", "NodesChanged", "Observation", "PlacedReplica"]


class EngineError(Exception):
    """An attempt cannot be run as it was placed. The message is one sentence for the job's owner.

    Parameters
    ----------
    again
        Whether it may work another time; if not, the job fails.
    waits
        Nothing is wrong with the job: it waits with this message, and the engine is asked until it works.
    """

    def __init__(
        self,
        message: str,
        *,
        code: CauseCode = CauseCode.PLATFORM_FAULT,
        again: bool = True,
        waits: bool = False,
    ) -> None:
        self.code = code
        self.again = again
        self.waits = waits
        super().__init__(message)


@dataclass(frozen=True)
class PlacedReplica:
    """One replica where the queue put it, and the execution that may run."""

    role: str
    index: int
    node: str
    gpus: tuple[int, ...] = ()
    execution: int = 1


@dataclass(frozen=True)
class Attempt:
    """All that an engine needs to know of an admission.

    Parameters
    ----------
    replicas
        Those that are to have a keeper; others of the attempt are left as they are.
    """

    id: str
    job: str
    number: int
    owner: str
    group: str
    spec: JobSpec
    time_limit: int
    replicas: tuple[PlacedReplica, ...]


@dataclass(frozen=True)
class Observation:
    """What an engine sees of one replica.

    Parameters
    ----------
    alive
        Whether its keeper lives. When it does not, every process that it kept may be ended by
        applying again, which is always safe.
    holder
        Where the engine makes replicas again by itself: which incarnation is meant. It is not alive only
        once its death is certain.
    cause
        Why it is not alive.
    message
        What the engine says while it has not begun.
    """

    attempt: str
    role: str
    index: int
    alive: bool
    holder: str | None = None
    cause: Cause | None = None
    message: str = ""


@dataclass(frozen=True)
class Complaint:
    """Why replicas of an attempt have not begun, as the engine's own controllers tell it.

    Parameters
    ----------
    role
        Of these alone; None: of all.
    """

    attempt: str
    role: str | None
    message: str


class NodesChanged:
    """Machines came, went or changed: `Engine.nodes` says how they are now."""


class Engine(Protocol):
    """A cluster's engine; see the module for what it promises."""

    async def start(self) -> None:
        """Get ready. Replicas that run are left alone."""

    async def stop(self) -> None:
        """Let go. Replicas run on."""

    async def nodes(self) -> Sequence[Node]:
        """The machines, as they are now."""

    async def apply(self, attempt: Attempt) -> None:
        """Have a keeper for each of these replicas.

        Raises
        ------
        EngineError
            If one cannot be started.
        """

    async def delete(self, attempt: Attempt, *, patience: float = 10.0) -> None:
        """Remove an attempt: what has not ended by itself after ``patience`` seconds is killed."""

    async def kept(self) -> Collection[str]:
        """Jobs of which something outlived their attempts: what they checkpointed."""

    async def forget(self, job: str, owner: str) -> None:
        """Remove what a deleted job kept."""

    async def gone(self, holder: str, node: str) -> bool:
        """Whether it is certain that nothing of an incarnation lives, which was last seen on ``node``."""

    def fence(self, holder: str) -> None:
        """Regard an incarnation as gone: its agent was bound to end it by now, by its own clock."""

    def observe(self) -> AsyncIterator[Observation | Complaint | NodesChanged]:
        """Everything that is there, then every change."""
