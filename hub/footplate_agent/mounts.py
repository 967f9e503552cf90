"""Shows volumes where the code expects them: links, since a process of this user may not mount.

A relative path is a link in the working directory. An absolute one is a link there if this user may make
it, or nothing where the volume already is at that path.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Iterable, Mapping

from .failure import PreparationFailed

__all__ = ["show_volumes"]


def show_volumes(mounts: Iterable[Mapping[str, Any]], work: str) -> Dict[str, str]:
    """Make every volume visible and return its ``FOOTPLATE_DATA_<NAME>`` variables.

    Raises
    ------
    PreparationFailed
        With cause ``DataNotReady`` and the volume's name.
    """
    variables = {}
    for mount in mounts:
        name, host = str(mount["name"]), str(mount["host"])
        if not os.path.isdir(host):
            raise PreparationFailed(
                "DataNotReady", f"Volume {name!r} is not on this machine: there is no folder {host}."
            )
        path = str(mount["path"])
        place = path if path.startswith("/") else os.path.join(work, path.strip("/"))
        _link(name, host, place, None if path.startswith("/") else work)
        variables[f"FOOTPLATE_DATA_{name.upper().replace('-', '_')}"] = place
    return variables


def _link(name: str, host: str, place: str, inside: "str | None") -> None:
    if os.path.lexists(place):
        if os.path.realpath(place) == os.path.realpath(host):
            return
        what = "the workspace already has something" if inside else "this machine already has something else"
        raise PreparationFailed("DataNotReady", f"Volume {name!r} cannot be at {place}: {what} there.")
    parent = os.path.dirname(place.rstrip("/"))
    try:
        os.makedirs(parent, mode=0o700, exist_ok=True)
        real = os.path.realpath(parent)
        if inside is not None and real != inside and not real.startswith(inside + "/"):
            raise PreparationFailed(
                "DataNotReady", f"Volume {name!r} cannot be at {place}: a link leads outside."
            )
        os.symlink(host, place.rstrip("/"))
    except OSError as error:
        raise PreparationFailed(
            "DataNotReady",
            f"Volume {name!r} cannot be shown at {place} on this machine ({error.strerror}); "
            f"use a relative path, or read it at {host}.",
        ) from None
