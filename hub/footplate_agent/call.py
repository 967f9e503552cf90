"""Lays out a cell or a function for the runner: its text or pickle, and where its inputs are."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any, Dict, Mapping

from .api import Refused
from .failure import PreparationFailed
from .folder import ReplicaFolder, write_atomic
from .supplies import Supplies

__all__ = ["lay_out_call"]


def lay_out_call(start: Mapping[str, Any], folder: ReplicaFolder, supplies: Supplies) -> None:
    """Write ``call/call.json``, with every value fetched and verified.

    Raises
    ------
    PreparationFailed
        With cause ``CodeFetch``.
    """
    function = start["source"]["function"]
    shutil.rmtree(folder.call, ignore_errors=True)
    os.makedirs(folder.call, mode=0o700)

    def value(payload: Mapping[str, Any], what: str) -> Dict[str, str]:
        try:
            path = supplies.blob(str(payload["digest"]))
        except (Refused, ValueError) as error:
            raise PreparationFailed(
                "CodeFetch", f"{what} could not be fetched: {error}; submit the job again."
            ) from None
        return {"encoding": str(payload["encoding"]), "file": path}

    call = {
        "job": start["job"],
        "python": (start.get("python") or {}).get("version"),
        "payload": value(function["payload"], "The code"),
        "inputs": {
            name: value(payload, f"Input {name!r}")
            for name, payload in (function.get("inputs") or {}).items()
        },
        "outputs": list(function.get("outputs") or []),
    }
    write_atomic(os.path.join(folder.call, "call.json"), json.dumps(call).encode(), sync=False)
