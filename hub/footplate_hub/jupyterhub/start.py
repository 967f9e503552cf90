"""``python -m footplate_hub.jupyterhub.start MODULE …``: JupyterHub's programs, started and ended sooner.

Hub and dev machine are the same programs as under ``python -m MODULE``; what is left out is work that neither
needs, which was half of their processor time from start to first answer.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import runpy
import sys
from types import ModuleType

__all__ = ["main", "put_off_the_grammar"]

_GRAMMAR = "rfc3987_syntax"


def put_off_the_grammar() -> None:
    """Build the grammar of international addresses when one is checked, not at every start.

    jsonschema imports the parser, and the parser compiles its grammar at import: 0.9 s of processor time,
    and the many objects that it leaves behind cost as much again in collections. Events of Jupyter, for which
    jsonschema is there, have no such address.
    """
    stand_in = ModuleType(_GRAMMAR)

    def is_valid_syntax(*arguments: str) -> bool:
        if sys.modules.get(_GRAMMAR) is stand_in:
            del sys.modules[_GRAMMAR]
        return bool(importlib.import_module(_GRAMMAR).is_valid_syntax(*arguments))

    vars(stand_in)["is_valid_syntax"] = is_valid_syntax
    sys.modules[_GRAMMAR] = stand_in


def main() -> None:
    """Run the module that the first argument names, with the arguments behind it."""
    put_off_the_grammar()
    gc.set_threshold(
        50_000
    )  # imports make objects that stay; looking them through again and again finds nothing
    atexit.register(gc.freeze)  # at the end everything goes anyway
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
