"""When a job will start, as far as that can be foretold, and how well that went so far."""

from __future__ import annotations

from datetime import datetime

from .base import Answer

__all__ = ["Eta", "EtaAccuracy"]


class Eta(Answer):
    """When a job will start.

    Parameters
    ----------
    low, middle, high
        One in ten starts before the range, one in ten after it. None where it is not known.
    basis
        ``history``: how long such jobs took; ``limits``: time limits, as no job has ended yet; ``pace``: how
        fast those ahead start; ``unknown``.
    sentence
        The basis in words, or why it is not known.
    """

    low: datetime | None = None
    middle: datetime | None = None
    high: datetime | None = None
    basis: str
    sentence: str


class EtaAccuracy(Answer):
    """What came true of the ranges that were given, of the last thousand at most.

    Parameters
    ----------
    given
        All that were given; ``open`` of them for jobs that still wait.
    settled
        Those counted here, whose jobs have started.
    inside, early, late
        How many started inside their range, before and after it.
    median_error
        Seconds from the middle of the range to the start.
    median_width
        Seconds from the begin of the range to its end.
    """

    given: int = 0
    open: int = 0
    settled: int = 0
    inside: int = 0
    early: int = 0
    late: int = 0
    median_error: float | None = None
    median_width: float | None = None
