"""The user's process as it will be: which Python, which command line, which variables.

Pure but for looking at what exists. The environment starts clean, so that a job runs the same from every
service and for every submitter.
"""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from typing import Any, Dict, List, Mapping, Optional

from .failure import PreparationFailed
from .folder import MARK, ReplicaFolder

__all__ = ["base_environment", "command_line", "find_python", "job_environment", "with_standin"]

_KEPT = (
    "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH",
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
)  # fmt: skip
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find_python(python: Optional[Mapping[str, Any]]) -> str:
    """The interpreter that the job asked for.

    Raises
    ------
    PreparationFailed
        If this machine has none of that version.
    """
    if python is None:
        return sys.executable or shutil.which("python3") or "python3"
    executable = python.get("executable")
    if executable and os.access(executable, os.X_OK):
        return str(executable)
    version = str(python.get("version") or "")
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}" and sys.executable:
        return sys.executable
    found = shutil.which(f"python{version}")
    if found is None:
        asked = (
            f"{executable} is not on this machine, and neither is" if executable else "This machine has no"
        )
        raise PreparationFailed(
            "DependencyInstall", f"{asked} Python {version}; submit from a Python that the machines have."
        )
    return found


def base_environment(python: str) -> Dict[str, str]:
    """What every process of this user gets, tools of the agent included."""
    user = pwd.getpwuid(os.getuid())
    env = {name: os.environ[name] for name in _KEPT if name in os.environ}
    env.setdefault("LANG", "C.UTF-8")
    env.update(
        HOME=os.environ.get("HOME") or user.pw_dir,
        USER=user.pw_name,
        LOGNAME=user.pw_name,
        SHELL=user.pw_shell or "/bin/sh",
        PATH=_search_path(python, os.environ.get("PATH") or _PATH),
    )
    prefix = os.path.dirname(os.path.dirname(python))
    if os.path.exists(os.path.join(prefix, "pyvenv.cfg")):
        env["VIRTUAL_ENV"] = prefix
    return env


def _search_path(python: str, path: str) -> str:
    first = os.path.dirname(python)
    rest = [entry for entry in path.split(":") if entry and entry != first]
    return ":".join([first, *rest] if first else rest)


def job_environment(start: Mapping[str, Any], folder: ReplicaFolder, execution: int) -> Dict[str, str]:
    """The ``FOOTPLATE_*`` variables of one execution, and which devices it sees."""
    env = {
        "PYTHONUNBUFFERED": "1",
        "FOOTPLATE_JOB": str(start["job"]),
        "FOOTPLATE_ATTEMPT": str(start["attempt"]),
        "FOOTPLATE_ROLE": str(start["role"]),
        "FOOTPLATE_REPLICA": str(start["replica"]),
        "FOOTPLATE_REPLICAS": str(start.get("replicas", 1)),
        "FOOTPLATE_USER": str(start.get("user", "")),
        "FOOTPLATE_GROUP": str(start.get("group", "")),
        "FOOTPLATE_OUTPUT": folder.output,
        "FOOTPLATE_EXECUTION": str(execution),
        "FOOTPLATE_METRICS": folder.metrics(execution),
        MARK: folder.path,
    }
    if start.get("checkpoint"):
        env["FOOTPLATE_CHECKPOINT"] = str(start["checkpoint"])
    if not start.get("devices_shown"):  # a container shows only its own, and numbers them itself
        # An empty list hides the machine's GPUs from a job that was given none.
        devices = [] if start.get("declared") else start.get("gpus") or []
        env["CUDA_VISIBLE_DEVICES"] = ",".join(str(device) for device in devices)
    return env


def with_standin(env: Dict[str, str], library: str) -> Dict[str, str]:
    """Make ``import footplate`` work: the stand-in gives way to a real one wherever that is found."""
    entries = [entry for entry in env.get("PYTHONPATH", "").split(":") if entry]
    return {**env, "PYTHONPATH": ":".join([*entries, library])}


def command_line(command: Any, python: str, named_python: bool) -> List[str]:
    """The argument list: words as they are, or a string for a shell.

    Parameters
    ----------
    named_python
        Whether the job named its interpreter: then the word ``python`` means that one, by whatever name
        it is installed.
    """
    if isinstance(command, str):
        shell = "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"
        return [shell, "-c", command]
    words = [str(word) for word in command or []]
    if not words:
        raise PreparationFailed("UserError", "The job has no command; name one.")
    if named_python and words[0] in ("python", "python3"):
        words[0] = python
    return words
