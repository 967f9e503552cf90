"""What can go wrong, as types. Each message is one sentence: what is wrong and what to do.

A notebook shows that sentence without the frames of this package, which tell its reader nothing; a remote
traceback is shown as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from footplate_spec import Cause

__all__ = [
    "CellSyntaxError",
    "FootplateError",
    "JobCancelledError",
    "JobFailedError",
    "NotConfiguredError",
    "NotFoundError",
    "RefusedError",
    "RemoteError",
    "UnpicklableError",
    "UnreachableError",
    "UntrustedError",
    "WrongCallError",
]


class FootplateError(Exception):
    """Something that the person at the keyboard should read. ``exit_code`` is the command line's."""

    exit_code: ClassVar[int] = 3

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class WrongCallError(FootplateError, ValueError):
    """The call itself is wrong: nothing was sent."""

    exit_code = 2


class UnpicklableError(WrongCallError):
    """A variable, argument or function cannot travel; the message names it and the reason."""


class CellSyntaxError(WrongCallError):
    """The cell is not Python.

    Not a ``SyntaxError`` itself, which IPython would show with the frames that led here.
    """

    def __init__(self, shown: str) -> None:
        super().__init__(shown.strip().splitlines()[-1])
        self._shown = shown

    def _render_traceback_(self) -> list[str]:
        return self._shown.rstrip("\n").split("\n")


class NotConfiguredError(FootplateError):
    """There is no platform to speak to."""


class UnreachableError(FootplateError):
    """The platform does not answer."""


class RefusedError(FootplateError):
    """The service said no.

    Parameters
    ----------
    message
        The service's sentence.
    code
        The service's word for it.
    status
        The HTTP status.
    """

    def __init__(self, message: str, code: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class NotFoundError(RefusedError):
    """There is no such thing, or one may not see it."""

    exit_code = 4


class UntrustedError(FootplateError):
    """A value was pickled by another person: opening it runs their code."""

    exit_code = 2


class JobFailedError(FootplateError):
    """The job ended without a result.

    Parameters
    ----------
    message
        The first cause, as a sentence.
    job
        The job's id.
    cause
        The first cause, for programs.
    """

    exit_code = 1

    def __init__(self, message: str, job: str, cause: Cause | None = None) -> None:
        super().__init__(message)
        self.job = job
        self.cause = cause


class JobCancelledError(JobFailedError):
    """Somebody stopped the job."""


class RemoteError(JobFailedError):
    """The code raised.

    Parameters
    ----------
    error
        The last line of the traceback: ``NameError: name 'x' is not defined``.
    traceback
        The remote traceback as it was.
    shown
        Whether the traceback already stands in the cell's output.
    """

    def __init__(
        self, error: str, traceback: str, job: str, cause: Cause | None = None, *, shown: bool = False
    ) -> None:
        super().__init__(f"{error} (in {job})", job, cause)
        self.error = error
        self.traceback = traceback
        self.shown = shown

    def _render_traceback_(self) -> list[str]:
        head = [] if self.shown else self.traceback.rstrip("\n").split("\n")
        return [*head, f"{type(self).__name__}: {self}"]
