"""What ends an execution before its program runs."""

from __future__ import annotations

__all__ = ["PreparationFailed", "Stopped"]


class PreparationFailed(Exception):  # noqa: N818 - reads as what happened
    """A step before the program failed.

    Parameters
    ----------
    code
        The first cause, a ``footplate_spec.CauseCode``.
    sentence
        What is wrong and what to do.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class Stopped(Exception):  # noqa: N818 - on request
    """The service asked for an end while the program was being prepared."""
