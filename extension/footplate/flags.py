"""The options of a job as they are typed, in a magic and in a shell alike."""

from __future__ import annotations

import difflib
import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from .code import AUTO, Code, find_code
from .errors import WrongCallError
from .launch import Launch, command_job
from .options import OTHER_WORDS, Options, read_options

__all__ = [
    "CODE_WORDS",
    "CellFlags",
    "cell_flags",
    "code_of",
    "no_such_option",
    "parse",
    "read_cell_line",
    "script_job",
    "train_flags",
]

_F = TypeVar("_F", bound=Callable[..., Any])
_Flag = Callable[[_F], _F]

CODE_WORDS = ("workspace", "no_workspace", "git", "ref", "path", "submodules", "git_secret")

_FLAGS = (
    click.option("--name", help="The job's name; its id begins with it."),
    click.option("--gpus", type=int, help="GPUs for each replica."),
    click.option("--cpu", help="Cores for each replica: 2, 0.5, 500m."),
    click.option("--memory", help="Memory for each replica: 64Gi."),
    click.option("--flavor", help="Kinds of node that will do: h100,a100."),
    click.option("--replicas", metavar="N|MIN-MAX", help="Processes that start together: 4, or 2-8."),
    click.option("--time", help="Limit of the run: 2h, 1h30m."),
    click.option("--group", help="The group that pays."),
    click.option("--priority", help="low, normal, high, or what the platform names."),
    click.option("--cluster", help="Where: a name, several with commas, any."),
    click.option("--image", help="What it runs in, on clusters that run containers."),
    click.option("--shm", help="Size of /dev/shm, on clusters that run containers: 8Gi."),
    click.option("--region", help="Where its cluster must be."),
    click.option("--env", "-e", multiple=True, metavar="NAME[=VALUE]", help="A variable of the process."),
    click.option(
        "--secret", "secrets", multiple=True, metavar="NAME[:file]", help="A stored secret, as a variable."
    ),
    click.option("--volume", "volumes", multiple=True, metavar="NAME:PATH", help="A volume to mount."),
    click.option("--pip", multiple=True, metavar="PACKAGE", help="A package on top of the environment."),
    click.option("--setup", metavar="FILE", help="A shell script that runs once before, cached."),
    click.option("--array", type=int, metavar="N", help="N runs, each with FOOTPLATE_ARRAY_INDEX."),
    click.option(
        "--grid", multiple=True, metavar="NAME=A,B", help="A run for each value, in FOOTPLATE_PARAM_NAME."
    ),
    click.option("--at-once", type=int, metavar="N", help="The most of these runs at one time."),
    click.option(
        "--after",
        multiple=True,
        metavar="JOB[:OUTCOME]",
        help="Start once JOB succeeded, failed or finished.",
    ),
    click.option("--exclude", multiple=True, metavar="NODE", help="A node or an address to stay away from."),
    click.option("--node-label", "nodes_with", multiple=True, metavar="LABEL=VALUE", help="Only such nodes."),
    click.option("--tolerate", multiple=True, metavar="KEY[=VALUE][:EFFECT]", help="A taint to ignore."),
    click.option(
        "--extended", multiple=True, metavar="NAME=N", help="Other things that nodes count: rdma/hca=1."
    ),
    click.option("--topology", metavar="node|rack|any", help="All replicas on one node, or in one rack."),
    click.option("--max-restarts", type=int, help="Restarts after faults; 0: never twice."),
    click.option("--grace", help="Time for a checkpoint when asked to stop."),
    click.option("--fence-after", help="On a cluster: time unheard after which a replica ends itself."),
    click.option("--on-failure", metavar="POLICY", help="restart_replica, restart_gang, fail_job or ignore."),
    click.option("--on-success", metavar="POLICY", help="wait_all or end_job."),
    click.option("--python", metavar="PATH", help="Another interpreter than this one."),
    click.option("--workspace", "-w", metavar="FOLDER", help="The folder that travels."),
    click.option("--no-workspace", is_flag=True, help="No folder travels."),
    click.option("--git", metavar="URL", help="A repository instead of a folder."),
    click.option("--ref", help="Its branch, tag or commit."),
    click.option("--path", help="A folder inside the repository."),
    click.option("--submodules", is_flag=True, help="Its submodules too."),
    click.option("--git-secret", metavar="NAME", help="The stored secret that opens it."),
    click.option("--detach", "-d", is_flag=True, help="Do not wait."),
)


def train_flags(function: _F) -> _F:
    """Everything that one may say of a job, on a click command."""
    for flag in reversed(_FLAGS):
        function = flag(function)
    return function


def cell_flags(function: _F) -> _F:
    """What a cell has besides: variables in and out, and the handle's name."""
    for flag in reversed((
        click.option("--in", "-i", "inputs", multiple=True, metavar="NAME", help="A variable that goes in."),
        click.option("--out", "-o", "outputs", multiple=True, metavar="NAME", help="One that comes back."),
        click.option("--as", "as_name", default="job", metavar="NAME", help="The variable of the handle."),
    )):  # fmt: skip
        function = flag(function)
    return function


@dataclass(frozen=True)
class CellFlags:
    """A magic's line, read.

    Parameters
    ----------
    options, code
        What the job is given, and the words about its code.
    words
        The script and its own arguments.
    """

    options: Options
    code: dict[str, Any]
    detach: bool
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    as_name: str
    words: tuple[str, ...] = field(default=())


@click.command(context_settings={"allow_interspersed_args": False, "help_option_names": ["--help", "-h"]})
@cell_flags
@train_flags
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def _line(**_: Any) -> None:
    """Run a script or a cell as a job; what stands after the script's name is its own."""


def parse(command: click.Command, line: str, name: str) -> click.Context:
    """A magic's line by click's rules.

    Raises
    ------
    WrongCallError
        With one sentence; without one, if ``--help`` was asked for and has been printed.
    """
    try:
        return command.make_context(name, shlex.split(line))
    except ValueError as error:
        raise WrongCallError(f"the line cannot be read: {str(error).lower()}") from None
    except click.exceptions.Exit:
        raise WrongCallError("") from None
    except click.NoSuchOption as error:
        raise WrongCallError(no_such_option(command, error.option_name)) from None
    except click.UsageError as error:
        raise WrongCallError(error.format_message()) from None


def no_such_option(command: click.Command, option: str) -> str:
    """One sentence with the nearest option that there is."""
    known = [flag for parameter in command.params for flag in parameter.opts if flag.startswith("--")]
    word = OTHER_WORDS.get(option.lstrip("-").replace("-", "_"))
    near = f"--{word.removesuffix('s') if f'--{word}' not in known else word}" if word else ""
    if near not in known:
        near = next(iter(difflib.get_close_matches(option, known, 1)), "")
    return f"there is no option {option}" + (f"; did you mean {near}?" if near else "; --help lists them")


def read_cell_line(line: str, name: str) -> CellFlags:
    """A magic's line as flags.

    Raises
    ------
    WrongCallError
        With one sentence; for an unknown option, with the nearest one.
    """
    context = parse(_line, line, name)
    given = dict(context.params)
    words_left = given.pop("words")
    rest = {word: given.pop(word) for word in ("detach", "inputs", "outputs", "as_name")}
    code = {word: given.pop(word) for word in CODE_WORDS}
    return CellFlags(
        read_options({word: value for word, value in given.items() if value not in {None, ()}}),
        code,
        rest["detach"],
        rest["inputs"],
        rest["outputs"],
        rest["as_name"],
        tuple(words_left),
    )


def code_of(code: dict[str, Any], *, whole: bool) -> Code:
    """The code that the flags name.

    Parameters
    ----------
    whole
        Whether the folder travels when no flag says so: for a script yes, for a cell if it is a project.
    """
    given = {word: code[word] for word in ("git", "ref", "path", "submodules", "git_secret")}
    if code["no_workspace"] and code["workspace"]:
        raise WrongCallError("--workspace and --no-workspace exclude each other")
    workspace = code["workspace"]
    if workspace is None and not code["no_workspace"] and not code["git"]:
        workspace = "." if whole else AUTO
    return find_code(workspace, **given)


def script_job(words: Sequence[str], code: dict[str, Any], options: Options) -> Launch:
    """A script or a program with its arguments as a job.

    ``train.py`` runs with Python, ``run.sh`` with the shell unless it is executable, and a program that is no
    file of the workspace (``torchrun``) as it is.

    Raises
    ------
    WrongCallError
        If there is no such script.
    """
    first, *rest = words
    if code["git"]:
        # Whether the file is there is the commit's business, known once it is fetched.
        found = find_code(
            None, **{word: code[word] for word in ("git", "ref", "path", "submodules", "git_secret")}
        )
        return command_job([*_started(first, executable=False), *rest], found, options)
    root = Path(code["workspace"] or ".").expanduser()
    script = _inside(first, root)
    if script is None:
        is_program = os.sep not in first and not Path(first).suffix and shutil.which(first) is not None
        if not is_program:
            raise WrongCallError(f"there is no {first} in {root.resolve()}")
        return command_job([first, *rest], code_of(code, whole=True), options)
    found = code_of(code, whole=True)
    if found.root is None:
        # Nothing travels: the file is where it is, for a cluster that sees this file system.
        script = str((root / script).resolve())
    return command_job(
        [*_started(script, executable=os.access(root / script, os.X_OK)), *rest], found, options
    )


def _inside(first: str, root: Path) -> str | None:
    """A file's path as seen from the workspace, or None if it is no file of it."""
    for candidate in (Path(first).expanduser(), root / first):
        if not candidate.is_file():
            continue
        relative = os.path.relpath(os.path.abspath(candidate), os.path.abspath(root))
        if relative.startswith(".." + os.sep):
            raise WrongCallError(
                f"{first} lies outside the workspace {root.resolve()}; --workspace names another"
            )
        return relative
    return None


def _started(script: str, *, executable: bool) -> list[str]:
    suffix = Path(script).suffix
    if suffix == ".py":
        return ["python", script]
    if suffix == ".sh" and not executable:
        return ["bash", script]
    return [script if script.startswith("/") or not executable else f"./{script}"]
