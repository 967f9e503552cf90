"""What a notebook imports.

Importing it costs next to nothing: every name is loaded when it is first used, so that a job that only
calls ``footplate.report`` and a kernel that preloads the magics do not pay for the client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from footplate_spec import __version__

    from .errors import (
        FootplateError,
        JobCancelledError,
        JobFailedError,
        NotFoundError,
        RefusedError,
        RemoteError,
        UnpicklableError,
        UnreachableError,
        UntrustedError,
        WrongCallError,
    )
    from .handle import Job
    from .inside import checkpoint, output, report, resume, stopping
    from .launch import check, submit, train
    from .session import attach, budgets, jobs, me, nodes, quota, secrets
    from .sweep import sweep as map  # noqa: A004 - what executors call it

__all__ = [
    "FootplateError",
    "Job",
    "JobCancelledError",
    "JobFailedError",
    "NotFoundError",
    "RefusedError",
    "RemoteError",
    "UnpicklableError",
    "UnreachableError",
    "UntrustedError",
    "WrongCallError",
    "__version__",
    "attach",
    "budgets",
    "check",
    "checkpoint",
    "jobs",
    "map",
    "me",
    "nodes",
    "output",
    "quota",
    "report",
    "resume",
    "secrets",
    "stopping",
    "submit",
    "train",
]

_HOME = {
    "__version__": "footplate_spec",
    "Job": ".handle",
    **dict.fromkeys(("checkpoint", "output", "report", "resume", "stopping"), ".inside"),
    **dict.fromkeys(("check", "submit", "train"), ".launch"),
    "map": ".sweep",
    **dict.fromkeys(("attach", "budgets", "jobs", "me", "nodes", "quota", "secrets"), ".session"),
    **dict.fromkeys([name for name in __all__ if name.endswith("Error")], ".errors"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name], __name__), "sweep" if name == "map" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))


def load_ipython_extension(shell: InteractiveShell) -> None:
    """``%load_ext footplate``: the magics of docs/notebook.md."""
    from .magics import FootplateMagics

    shell.register_magics(FootplateMagics)
