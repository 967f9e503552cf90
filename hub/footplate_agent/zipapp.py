"""Builds ``footplate-agent.pyz``: one file that needs only a Python.

``python -m footplate_agent.zipapp OUT``. It holds this package and a copy of the installed cloudpickle.
The same input gives the same bytes.
"""

from __future__ import annotations

import os
import sys
import zipfile
from typing import Dict

from . import bundle
from .folder import write_atomic

__all__ = ["build"]

_EPOCH = (1980, 1, 1, 0, 0, 0)
_START = b"from footplate_agent.__main__ import main\nimport sys\nsys.exit(main(sys.argv[1:]))\n"


def build(target: str) -> None:
    """Write the archive, whole or not at all."""
    import io

    files = {"__main__.py": _START, **_package()}
    for path, data in bundle.contents().items():
        if path.startswith("vendored/"):
            files[path[len("vendored/") :]] = data
    buffer = io.BytesIO()
    buffer.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[path])
    write_atomic(os.path.abspath(target), buffer.getvalue(), mode=0o755)


def _package() -> Dict[str, bytes]:
    root = os.path.dirname(os.path.abspath(__file__))
    files = {}
    for parent, _, names in os.walk(root):
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(parent, name)
                with open(path, "rb") as file:
                    files[os.path.join("footplate_agent", os.path.relpath(path, root))] = file.read()
    return files


if __name__ == "__main__":
    build(sys.argv[1])
