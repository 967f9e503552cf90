"""A picture of a replay: GPUs in use and waiting over time, and the waits by when jobs came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .replay import Replayed
from .report import GANG
from .trace import TraceError

__all__ = ["FORMATS", "plot"]

FORMATS = (".png", ".svg", ".pdf")
_DAY = 86400.0


def plot(result: Replayed, file: Path, title: str) -> None:
    """Write it.

    Raises
    ------
    TraceError
        If matplotlib is not installed, the file's ending names no format, or it cannot be written.
    """
    if file.suffix.lower() not in FORMATS:
        raise TraceError(f"{file} is no picture that can be made: end its name in {', '.join(FORMATS)}")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise TraceError(
            "--plot needs matplotlib, which is not installed: pip install 'footplate[plot]'"
        ) from None
    figure = Figure(figsize=(11, 8), layout="constrained")
    FigureCanvasAgg(figure)
    use, line, waits = figure.subplots(3, 1)
    figure.suptitle(title)
    days = [moment.time / _DAY for moment in result.moments]
    _use(use, result, days)
    line.step(days, [m.waiting for m in result.moments], where="post", color="tab:orange", linewidth=0.8)
    line.set(ylabel="jobs waiting", ylim=(0, None))
    _waits(waits, result)
    for axis in (use, line, waits):
        axis.set_xlim(0, max(days[-1], 1e-3))
    waits.set_xlabel("days")
    try:
        figure.savefig(file, dpi=120)
    except OSError as error:
        raise TraceError(f"cannot be written: {error.strerror}", file) from error


def _use(axis: Any, result: Replayed, days: list[float]) -> None:
    used = [moment.used_gpus for moment in result.moments]
    there = [moment.used_gpus + moment.free_gpus for moment in result.moments]
    axis.fill_between(days, used, step="post", color="tab:blue", alpha=0.7, label="in use")
    axis.step(days, there, where="post", color="black", linewidth=0.8, label="there")
    axis.set(ylabel="GPUs", ylim=(0, None))
    axis.legend(loc="lower right")


def _waits(axis: Any, result: Replayed) -> None:
    for label, colour, large in (("jobs", "tab:grey", False), (f"of {GANG} GPUs or more", "tab:red", True)):
        chosen = [
            (job.trace.submit / _DAY, max(job.first - job.trace.submit, 1.0) / 3600)
            for job in result.jobs.values()
            if job.first is not None and (job.trace.gpus >= GANG) == large
        ]
        if chosen:
            axis.scatter(*zip(*chosen, strict=True), s=5, color=colour, label=label)
    axis.set(ylabel="hours waited, by submission", yscale="log")
    axis.legend(loc="upper right")
