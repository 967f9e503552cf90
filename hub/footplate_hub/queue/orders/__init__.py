"""In which order those who wait are considered: one module an order, named after it.

A module of this folder is an order if it has a function ``key(group, use)``, which places a group: those
with the smallest key go first, and where keys are equal, priority decides, then who came first. The key is a
tuple of numbers, a pure function of what it is given; it may only grow while a pass admits, as use does.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache

from . import fifo
from .use import Use, young

__all__ = ["Key", "Order", "Use", "fifo", "order_named", "orders", "young"]

Key = tuple[float, ...]
Order = Callable[[str, Use], Key]


@cache
def orders() -> dict[str, Order]:
    """Every order by its name."""
    modules = (
        importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)
    )
    return {m.__name__.rpartition(".")[2]: m.key for m in modules if hasattr(m, "key")}


def order_named(name: str) -> Order:
    """One order.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    found = orders().get(name)
    if found is None:
        raise ValueError(f"There is no order {name!r}; there is {', '.join(sorted(orders()))}.")
    return found
