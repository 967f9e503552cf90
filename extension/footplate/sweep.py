"""One function over many arguments: an array of runs whose results come back in order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .code import AUTO
from .errors import WrongCallError
from .handle import Job
from .launch import code_and_options, function_job

__all__ = ["sweep"]


def sweep(
    function: Callable[..., Any],
    grid: Mapping[str, Iterable[Any]] | Iterable[Any],
    at_once: int | None = None,
    **options: Any,
) -> Job:
    """Run a function once for each argument, as one row of the queue.

    Parameters
    ----------
    grid
        Values by argument name, ``{"lr": [0.1, 0.01], "seed": range(3)}``: every combination; or a list
        whose dictionaries are keyword arguments and whose other items are the only argument.
    at_once
        The most runs that wait or run at one time; unset: as many as there is room for.
    options
        Those of `train`.

    Returns
    -------
    Job
        ``job.result()`` waits for all and lists their values in order; ``job.runs()`` are their handles.

    Raises
    ------
    WrongCallError
        If there is nothing to run, or something cannot travel; nothing was queued.

    Examples
    --------
    >>> losses = fp.map(fit, {"lr": [0.1, 0.01]}, at_once=8).result()  # doctest: +SKIP
    """
    points = _points(grid)
    if not points:
        raise WrongCallError("there is nothing to run: the grid is empty")
    if not callable(function):
        raise WrongCallError(f"the first argument must be a function, not {type(function).__name__}")
    code, rest = code_and_options({**options, "array": len(points), "at_once": at_once}, AUTO)

    def one_run(function: Callable[..., Any], points: list[Any]) -> Any:
        # Pickled by value, so a run needs nothing of footplate.
        import os

        point = points[int(os.environ["FOOTPLATE_ARRAY_INDEX"])]
        return function(**point) if isinstance(point, dict) else function(point)

    one_run.__name__ = getattr(function, "__name__", "map")
    return function_job(one_run, (function, points), {}, code, rest).send()


def _points(grid: Mapping[str, Iterable[Any]] | Iterable[Any]) -> list[Any]:
    if isinstance(grid, Mapping):
        return (
            [
                dict(zip(grid, values, strict=True))
                for values in itertools.product(*(list(values) for values in grid.values()))
            ]
            if grid
            else []
        )
    return list(grid)
