"""What a job may call where its Python has no ``footplate``: the same names, standard library only.

It stands early on the path (``PYTHONPATH`` comes before site-packages), so it first looks for a real
``footplate`` elsewhere and gives way to it.
"""

from __future__ import annotations

import importlib.util
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from pathlib import Path
    from typing import Any, Optional


def _real_footplate() -> Optional[ModuleSpec]:
    """The spec of another ``footplate`` on the path, if there is one."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = sys.path[:]
    sys.path[:] = [entry for entry in path if os.path.abspath(entry or ".") != here]
    try:
        for finder in sys.meta_path:
            spec = finder.find_spec("footplate", None) if hasattr(finder, "find_spec") else None
            # A folder without code (a checkout's, say) is not the real one.
            if spec is not None and spec.loader is not None and spec.origin:
                return spec
    finally:
        sys.path[:] = path
    return None


_spec = _real_footplate()
if _spec is not None:
    _module = importlib.util.module_from_spec(_spec)
    sys.modules["footplate"] = _module
    if _spec.loader is not None:
        _spec.loader.exec_module(_module)
else:
    import json
    import math
    import signal
    import threading
    import time
    from pathlib import Path

    __all__ = ["checkpoint", "output", "report", "resume", "stopping"]

    _asked_to_stop = threading.Event()

    def report(step: Optional[float] = None, **values: Any) -> None:
        """Tell how training goes: ``report(step=10, loss=0.3)``.

        Parameters
        ----------
        step
            Where training is (a step, an epoch); unset where there is no such thing.
        values
            Named numbers; anything that ``float()`` takes. What is not finite is left out.

        Raises
        ------
        TypeError
            If a value is not a number.
        """
        numbers = {name: _number(name, value) for name, value in values.items()}
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
        """The folder for checkpoints. It survives restarts and attempts."""
        return _folder("FOOTPLATE_CHECKPOINT", "checkpoints")

    def output() -> Path:
        """The folder whose files come back."""
        return _folder("FOOTPLATE_OUTPUT", "output")

    def resume() -> Optional[Path]:
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

        The first call makes SIGTERM set this answer instead of ending the process; call it from the main
        thread before training begins, then after every step.
        """
        free = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        if free and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda number, frame: _asked_to_stop.set())
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
