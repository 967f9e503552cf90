"""Gives a handle its live view, where there is a notebook to show it.

All views of a kernel are fed by one thread, which follows their jobs and ends with the last of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from footplate_spec import JOB_FINAL, FollowItem

from .errors import FootplateError
from .feed import feed

if TYPE_CHECKING:
    from .handle import Job

__all__ = ["view_of"]

_TAIL = 8 * 2**10


def view_of(job: Job) -> Any:
    """The widget of a handle, or None where nothing could show one: outside of a notebook's kernel."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return None
    shell = get_ipython()
    if shell is None or getattr(shell, "kernel", None) is None:
        return None
    from .view import JobView  # anywidget takes 200 ms to import

    view = JobView(job)
    if job.last_seen.state not in JOB_FINAL:
        feed().add(job.client.transport.profile, job.id, view.take)
    else:
        _fill_ended(job, view)
    return view


def _fill_ended(job: Job, view: Any) -> None:
    """What an ended job's view shows besides its state; without it, the view is only poorer."""
    try:
        view.take(FollowItem(kind="metrics", metrics=list(job.metrics())))
        view.take(FollowItem(kind="log", text=job.logs(tail=_TAIL) or ""))
    except FootplateError:
        return
