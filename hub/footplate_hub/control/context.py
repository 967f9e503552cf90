"""What the rest of the service learns from the loops: who a replica is, and what was refused."""

from __future__ import annotations

from dataclasses import dataclass

from footplate_spec import JobSpec

__all__ = ["Refused", "ReplicaContext"]


class Refused(Exception):  # noqa: N818 - it reads as what happened, and is shown to people as it stands
    """What was asked is not possible in the state things are in; the message is one sentence."""


@dataclass(frozen=True)
class ReplicaContext:
    """The replica behind a living token.

    Parameters
    ----------
    execution
        The execution that may run now.
    final
        Its exit is recorded: nothing more is taken from this execution.
    """

    job: str
    owner: str
    group: str
    attempt_number: int
    execution: int
    spec: JobSpec
    final: bool
