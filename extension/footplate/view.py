"""The live view of a handle: state, reason, curves, the end of the output, a button to stop.

Everything that is drawn stands in a trait, so a reloaded page shows the same.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from footplate_spec import FollowItem, JobState, JobSummary

from .errors import FootplateError
from .wording import waiting_sentence, waits_for

if TYPE_CHECKING:
    from .handle import Job

__all__ = ["JobView"]

_TAIL = 8 * 2**10
_POINTS = 200


class JobView(anywidget.AnyWidget):
    """A job as traits.

    Parameters
    ----------
    handle
        The job.
    """

    _esm = Path(__file__).with_name("widget.js").read_text(encoding="utf-8")

    job = traitlets.Unicode().tag(sync=True)
    state = traitlets.Unicode().tag(sync=True)
    stopping = traitlets.Bool(False).tag(sync=True)
    sentence = traitlets.Unicode().tag(sync=True)
    submitted = traitlets.Float(0.0).tag(sync=True)
    started = traitlets.Float(0.0).tag(sync=True)
    ended = traitlets.Float(0.0).tag(sync=True)
    tail = traitlets.Unicode().tag(sync=True)
    metrics = traitlets.Dict().tag(sync=True)

    def __init__(self, handle: Job) -> None:
        super().__init__(job=handle.id, **_traits(handle.last_seen))
        self._handle = handle
        self._curves: dict[str, list[list[float]]] = {}
        self.on_msg(self._asked)

    def take(self, item: FollowItem) -> None:
        """Show one item of the job's stream."""
        with self.hold_sync():
            if item.job is not None:
                self._handle.see(item.job)
                for name, value in _traits(item.job).items():
                    setattr(self, name, value)
            if item.why is not None and item.why.state in {JobState.QUEUED, JobState.SUSPENDED}:
                self.sentence = waiting_sentence(item.why)
            if item.text:
                self.tail = (self.tail + item.text)[-_TAIL:]
            if item.metrics:
                _extend(self._curves, item)
                self.metrics = {name: _thin(points) for name, points in self._curves.items()}

    def _asked(self, _: Any, content: Any, __: Any) -> None:
        if isinstance(content, dict) and content.get("do") == "stop":
            # The kernel's own thread must not wait for the service.
            threading.Thread(target=self._stop, name="footplate-stop", daemon=True).start()

    def _stop(self) -> None:
        try:
            self.take(FollowItem(kind="job", job=self._handle.cancel().last_seen))
        except FootplateError as error:
            self.sentence = str(error)


def _traits(job: JobSummary) -> dict[str, Any]:
    """A job's state as traits."""
    sentence = waits_for(job)
    if job.cause is not None:
        sentence = f"{job.cause.code}: {job.cause.message}"
    return {
        "state": str(job.state),
        "stopping": job.stopping,
        "sentence": sentence,
        "submitted": job.submitted.timestamp(),
        "started": job.started.timestamp() if job.started else 0.0,
        "ended": job.ended.timestamp() if job.ended else 0.0,
    }


def _extend(curves: dict[str, list[list[float]]], item: FollowItem) -> None:
    for point in item.metrics:
        for name, value in point.values.items():
            line = curves.setdefault(name, [])
            line.append([point.step if point.step is not None else float(len(line)), value])


def _thin(points: list[list[float]]) -> list[list[float]]:
    """Few enough points for a small curve, the last one among them."""
    stride = -(-len(points) // _POINTS)
    return points if stride <= 1 else [*points[:-1:stride], points[-1]]
