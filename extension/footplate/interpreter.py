"""The Python that a job runs with: this one, or another whose fit is checked before anything is queued."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys

from footplate_spec import Python

from .errors import WrongCallError
from .uploads import Blob, blob_of

__all__ = ["check_pickles_open_here", "interpreter"]

_ASK = (
    "import json,sys\n"
    "try:\n import cloudpickle as c; v=c.__version__\n"
    "except ImportError: v=None\n"
    "print(json.dumps({'version': '%d.%d' % sys.version_info[:2], 'cloudpickle': v, 'path': sys.path}))"
)
_METADATA = re.compile(r"(.+?)-([^-]+?)(?:-py\d\.\d+)?\.(?:dist|egg)-info")
_HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def interpreter(executable: str | None, *, pickles: bool) -> tuple[Python, Blob]:
    """The contract's ``python``, and the list of packages that the run is recorded with.

    Parameters
    ----------
    executable
        Another interpreter; unset: this one.
    pickles
        Whether values travel as pickles, which need the same minor version on both sides.

    Raises
    ------
    WrongCallError
        If it is not there, or could not open what this one pickles.
    """
    version, path = _HERE, tuple(sys.path)
    if executable is None:
        executable = sys.executable
    else:
        executable = os.path.abspath(os.path.expanduser(executable))
        version, cloudpickle, path = _ask(executable)
        if pickles:
            _compare(executable, version, cloudpickle)
    packages = blob_of(_packages(tuple((folder or ".", _changed(folder or ".")) for folder in path)))
    return Python(version=version, executable=executable, packages=packages.digest), packages


def check_pickles_open_here(version: str, job: str) -> None:
    """Refuse a job's pickles that another minor version wrote.

    Raises
    ------
    WrongCallError
        Naming both versions.
    """
    if version != _HERE:
        raise WrongCallError(
            f"the result of {job} was pickled by Python {version} and this is Python {_HERE}; "
            f"open it from a notebook with Python {version}"
        )


def _compare(executable: str, version: str, cloudpickle: str | None) -> None:
    if version != _HERE:
        raise WrongCallError(
            f"{executable} is Python {version} and this notebook is Python {_HERE}: variables and functions "
            "need the same minor version on both sides; choose another one, or run a script"
        )
    import cloudpickle as ours

    if cloudpickle is not None and cloudpickle.split(".")[0] != ours.__version__.split(".")[0]:
        raise WrongCallError(
            f"{executable} has cloudpickle {cloudpickle} and this notebook {ours.__version__}; "
            "install the same major version on both sides"
        )


@functools.lru_cache(maxsize=16)
def _ask(executable: str) -> tuple[str, str | None, tuple[str, ...]]:
    try:
        answer = subprocess.run(
            [executable, "-c", _ASK], capture_output=True, text=True, check=True, timeout=30
        )
        told = json.loads(answer.stdout)
        return told["version"], told["cloudpickle"], tuple(told["path"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        reason = getattr(error, "strerror", None) or "it does not run as one"
        raise WrongCallError(f"{executable} is not a Python that can be used: {reason}") from None


@functools.lru_cache(maxsize=16)
def _packages(path: tuple[tuple[str, int], ...]) -> bytes:
    """``name==version`` a line, from the names of the metadata folders: reading them all takes too long."""
    found = set()
    for folder, changed in path:
        for entry in os.listdir(folder) if changed else ():
            match = _METADATA.fullmatch(entry)
            if match:
                found.add(f"{match[1].replace('_', '-').lower()}=={match[2]}")
    return "".join(f"{line}\n" for line in sorted(found)).encode()


def _changed(folder: str) -> int:
    """When a folder's entries last changed; 0 for what is no folder that can be read."""
    try:
        return os.stat(folder).st_mtime_ns if os.access(folder, os.R_OK) and os.path.isdir(folder) else 0
    except OSError:
        return 0
