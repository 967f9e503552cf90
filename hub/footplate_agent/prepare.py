"""Everything between "this replica is to run" and its command line: code, packages, data, secrets."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping

from .bundle import lay_out
from .call import lay_out_call
from .environment import base_environment, command_line, find_python, job_environment, with_standin
from .failure import PreparationFailed
from .folder import ReplicaFolder
from .git import fetch_git
from .mounts import show_volumes
from .overlay import make_overlay, overlay_needed
from .supplies import Supplies
from .workspace import fetch_workspace

__all__ = ["Plan", "prepare"]


@dataclass(frozen=True)
class Plan:
    """What the keeper is to execute."""

    argv: List[str]
    env: Dict[str, str]
    cwd: str


def prepare(
    start: Mapping[str, Any],
    folder: ReplicaFolder,
    execution: int,
    supplies: Supplies,
) -> Plan:
    """Make one execution ready to start; everything in it may be done again.

    Raises
    ------
    PreparationFailed
        With the first cause.
    Stopped
        If ``stop`` was set meanwhile.
    """
    _empty(folder)
    python = find_python(start.get("python"))
    tool_env = base_environment(python)
    secrets = supplies.api.secrets() if start.get("secrets") else {}
    cwd = _code(start, folder, secrets, tool_env, supplies)
    setup = start.get("setup") or {}
    if overlay_needed(setup):
        supplies.say("installing packages")
        python = make_overlay(setup, python, start.get("indexes") or {}, tool_env, supplies)
    data = show_volumes(start.get("mounts") or [], folder.work)
    laid = lay_out(supplies.cache)
    source = start.get("source") or {}
    if source.get("function"):
        supplies.say("fetching inputs")
        lay_out_call(start, folder, supplies)
        argv = [python, laid.runner, folder.path]
    else:
        argv = command_line(
            start.get("command"), python, start.get("python") is not None or overlay_needed(setup)
        )
    job = job_environment(start, folder, execution)
    env = {
        **base_environment(python),
        "PYTHONUNBUFFERED": job.pop("PYTHONUNBUFFERED"),  # the job may want it otherwise
        **{name: str(value) for name, value in (start.get("env") or {}).items()},
        **_secret_variables(secrets, folder),
        **job,
        **data,
    }
    supplies.cache.prune()
    return Plan(argv, with_standin(env, laid.standin), cwd)


def _empty(folder: ReplicaFolder) -> None:
    """Fresh folders for results: those of an earlier execution must not pass for this one's."""
    for path in (folder.result, folder.output):
        shutil.rmtree(path, ignore_errors=True)
    for path in (folder.work, folder.result, folder.output):
        os.makedirs(path, mode=0o700, exist_ok=True)
    checkpoint = folder.read_start().get("checkpoint")
    if checkpoint:
        try:
            os.makedirs(str(checkpoint), mode=0o700, exist_ok=True)
        except OSError as error:
            raise PreparationFailed(
                "DataNotReady", f"The checkpoint folder {checkpoint} cannot be made: {error.strerror}."
            ) from None


def _code(
    start: Mapping[str, Any],
    folder: ReplicaFolder,
    secrets: Mapping[str, Any],
    env: Dict[str, str],
    supplies: Supplies,
) -> str:
    """Fetch the code, unless an earlier execution here did, and return the working directory."""
    source = start.get("source") or {}
    git, workspace = source.get("git"), source.get("workspace")
    cwd = os.path.join(folder.work, str((git or {}).get("path") or "")).rstrip("/")
    if folder.read_notes().get("code"):
        return cwd
    if workspace:
        supplies.say("fetching the workspace")
        fetch_workspace(str(workspace["digest"]), folder.work, supplies)
    elif git:
        supplies.say(f"fetching {git['url']}")
        commit = fetch_git(git, folder, secrets.get("git"), env, supplies.stop)
        if not git.get("commit"):  # only the secret could tell what the ref is
            supplies.know("git_commit", commit)
    folder.write_notes({**folder.read_notes(), "code": True})
    return cwd


def _secret_variables(secrets: Mapping[str, Any], folder: ReplicaFolder) -> Dict[str, str]:
    variables = {str(name): str(value) for name, value in (secrets.get("env") or {}).items()}
    for name, text in (secrets.get("files") or {}).items():
        if "/" in name or name in ("", ".", ".."):
            raise PreparationFailed("PlatformFault", "A secret has a name that is no file name.")
        os.makedirs(folder.secrets, mode=0o700, exist_ok=True)
        path = os.path.join(folder.secrets, name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        variables[str(name).upper().replace("-", "_")] = path
    return variables
