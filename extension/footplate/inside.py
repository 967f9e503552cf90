"""What code calls while it runs as a job: metrics, the folders that outlive its process, being asked to stop.

Standard library only. Outside a job the same calls work on the spot, so that a script can be tried by hand:
metrics go to standard error and the folders are below the working directory. Images without this package get
the same names from the agent's stand-in.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

__all__ = ["checkpoint", "output", "report", "resume", "stopping"]

_asked_to_stop = threading.Event()
_listening = False


def report(step: float | None = None, **values: Any) -> None:
    """Tell how training goes: the handle draws it, and it is the job's sign of progress.

    Parameters
    ----------
    step
        Where training is (a step, an epoch); unset where there is no such thing.
    values
        Named numbers, ``loss=0.3``. Anything that ``float()`` takes will do, a tensor with one element too.

    Raises
    ------
    TypeError
        If a value is not a number.
    """
    numbers = {name: _number(name, value) for name, value in values.items()}
    # JSON knows no NaN; a diverged loss is a fact, not an error, so it is left out of the curve.
    numbers = {name: number for name, number in numbers.items() if math.isfinite(number)}
    place = None if step is None else _number("step", step)
    file = os.environ.get("FOOTPLATE_METRICS")
    if not file:
        shown = " ".join(f"{name}={number:g}" for name, number in numbers.items())
        sys.stderr.write(f"step {step}: {shown}\n" if step is not None else f"{shown}\n")
        return
    # One write to a file opened for appending: lines of several processes never mix.
    point = {"time": time.time(), "step": place, "values": numbers}
    line = (json.dumps(point, separators=(",", ":")) + "\n").encode()
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def checkpoint() -> Path:
    """The folder for checkpoints. It survives restarts and attempts: look there before starting anew."""
    return _folder("FOOTPLATE_CHECKPOINT", "checkpoints")


def output() -> Path:
    """The folder whose files come back: ``job.download("folder")``."""
    return _folder("FOOTPLATE_OUTPUT", "output")


def resume() -> Path | None:
    """The newest entry of the checkpoint folder, or None: then training starts anew.

    Names that begin with a dot or end in ``.tmp`` are files being written and do not count.
    """
    found = [
        path
        for path in checkpoint().iterdir()
        if not path.name.startswith(".") and not path.name.endswith(".tmp")
    ]
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.name), default=None)


def stopping() -> bool:
    """Whether this process was asked to stop: write a checkpoint and end.

    The first call makes SIGTERM set this answer instead of ending the process; call it from the main thread
    before training begins, then after every step.
    """
    global _listening  # noqa: PLW0603
    if not _listening and threading.current_thread() is threading.main_thread():
        _listening = True
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, lambda *_: _asked_to_stop.set())
    return _asked_to_stop.is_set()


def _folder(variable: str, by_hand: str) -> Path:
    folder = Path(os.environ.get(variable) or by_hand)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"report: {name} must be a number, not {type(value).__name__}") from None
