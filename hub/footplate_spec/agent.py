"""What an agent and the service say to each other. The agent speaks it as plain JSON.

The service's side is level-triggered: it answers with what it wants (``Desired``), never with a
sequence of orders, so a lost answer or a service that was killed changes nothing.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from .base import Answer
from .job import Payload
from .reasons import Cause

__all__ = ["Claim", "Desired", "ExitReport", "Granted", "Report", "Stop"]


class Stop(Answer):
    """End the user's process: SIGTERM (write a checkpoint), then after ``grace`` seconds SIGKILL."""

    reason: Literal["cancelled", "suspended", "preempted", "evicted", "gang", "finished", "deleted"]
    grace: int = 60


class Desired(Answer):
    """What the service wants of one replica.

    Parameters
    ----------
    tag
        Changes with the content; the agent passes it back to wait for a change.
    execution
        The execution that may run. The agent starts a user's process only for this number, once.
    env
        Variables known only once the gang is ready (``MASTER_ADDR``, ``RANK``, …); none: wait.
    time_limit
        Seconds that the user's process may run.
    release
        Everything was received: agent and keeper end.
    """

    tag: str
    execution: int
    stop: Stop | None = None
    env: dict[str, str] | None = None
    time_limit: int | None = None
    release: bool = False


class Claim(Answer):
    """A replica's place was made again by an engine of its own: who asks to be it now.

    Parameters
    ----------
    holder
        Names this incarnation for ever (a pod's uid).
    node
        Where it is.
    """

    holder: str
    node: str = ""


class Granted(Answer):
    """The execution that this incarnation may carry out; none: ask again."""

    execution: int | None = None
    release: bool = False


class ExitReport(Answer):
    """How one execution ended, with everything that it left already uploaded."""

    execution: int
    exit_code: int | None = None
    signal: int | None = None
    cause: Cause | None = None
    stopped: str | None = None  # the ``Stop.reason`` or ``time_limit`` that ended it
    ran: bool = True  # whether the user's process was started at all
    lost: bool = False  # the keeper found no exit record of its predecessor
    started: float | None = None
    ended: float | None = None
    log_size: int = 0
    outputs: dict[str, Payload] = Field(default_factory=dict)
    files: str | None = None
    error: str | None = None
    traceback: str | None = None


class Report(Answer):
    """What an agent tells; every part may be repeated without harm."""

    execution: int
    state: Literal["preparing", "ready", "running", "exited"]
    message: str = ""
    address: str | None = None
    port: int | None = None
    started: float | None = None  # unix time at which the user's process started
    environment: dict[str, Any] = Field(default_factory=dict)
    metrics: list[dict[str, Any]] = Field(default_factory=list)
    usage: dict[str, float] = Field(default_factory=dict)
    exit: ExitReport | None = None
