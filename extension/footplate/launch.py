"""How a function, a cell or a command becomes a job. The magics and the command line come through here too.

Everything that can be known to be wrong is refused before the first byte leaves. A submit is one request
with a key of its own: sent again after a lost answer, it is the same job.
"""

from __future__ import annotations

import ast
import keyword
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from footplate_spec import JobSpec

from . import session
from .answers import Checked
from .code import AUTO, Code, find_code
from .errors import RefusedError, WrongCallError
from .handle import Job
from .interpreter import interpreter
from .options import Options, read_options
from .uploads import Blob, blob_of
from .values import encode
from .wording import size

if TYPE_CHECKING:
    from collections.abc import Callable

    from .client import Client

__all__ = [
    "Launch",
    "cell_job",
    "check",
    "code_and_options",
    "command_job",
    "function_job",
    "submit",
    "train",
]

_CODE_WORDS = ("workspace", "git", "ref", "path", "submodules", "git_secret")


@dataclass(frozen=True)
class Launch:
    """A job that is ready to be sent.

    Parameters
    ----------
    spec
        The job.
    blobs
        What it refers to.
    travels, notes
        What goes along and what stays behind, for a person.
    """

    spec: JobSpec
    blobs: list[Blob] = field(default_factory=list)
    travels: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def say(self) -> str:
        """What travels and what does not, a line each; nothing where there is nothing to say."""
        lines = [f"sending {', '.join(self.travels)}"] if self.travels else []
        return "".join(f"{line}\n" for line in [*lines, *self.notes])

    def check(self, client: Client | None = None) -> Checked:
        """Ask what would become of it; nothing is uploaded or queued."""
        verdict = (client or session.client()).check(self.spec)
        return Checked.model_validate(verdict.model_dump())

    def send(self, client: Client | None = None) -> Job:
        """Upload what is missing and queue the job.

        Raises
        ------
        FootplateError
            With the service's sentence, if it refuses.
        """
        client = client or session.client()
        key = secrets.token_urlsafe(18)
        client.blobs.send(self.blobs)
        try:
            view = client.submit(self.spec, key)
        except RefusedError as refused:
            # A blob that nothing referred to may have been swept since this kernel last sent it.
            if refused.code != "blob_missing" or not client.blobs.send_again(self.blobs):
                raise
            view = client.submit(self.spec, key)
        return Job(client, view, self.notes)


def train(
    function: Callable[..., Any],
    *args: Any,
    kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> Job:
    """Run a function as a job.

    Parameters
    ----------
    function
        Anything that can be called and pickled; what it needs from its module travels with it.
    args, kwargs
        Its arguments.
    options
        Those of `footplate.options.Options`, and ``workspace``, ``git``, ``ref``, ``path``, ``submodules``,
        ``git_secret``.

    Returns
    -------
    Job
        ``job.result()`` waits for the return value.

    Raises
    ------
    WrongCallError
        If something cannot travel or an option is none; nothing was queued.

    Examples
    --------
    >>> job = fp.train(fit, X, y, gpus=8, replicas=2, time="2h")  # doctest: +SKIP
    """
    code, rest = code_and_options(options, AUTO)
    return function_job(function, args, dict(kwargs or {}), code, rest).send()


def submit(command: str | Sequence[str], **options: Any) -> Job:
    """Run a command as a job.

    Parameters
    ----------
    command
        A text runs in a shell; a list of words runs as it is.
    options
        As for `train`; ``workspace`` is this folder unless ``workspace=None`` or ``git`` says otherwise.
    """
    if "git" not in options:
        options.setdefault("workspace", ".")
    code, rest = code_and_options(options, None)
    return command_job(command, code, rest).send()


def check(code: Callable[..., Any] | str | Sequence[str], *args: Any, **options: Any) -> Checked:
    """Ask what would become of a job: would it run, when, at what cost, and what would start it now.

    Nothing is uploaded, queued or stored.

    Parameters
    ----------
    code
        A function, with ``args`` and ``kwargs`` as for `train`; or a command, as for `submit`.
    options
        Those of `train` or `submit`.

    Examples
    --------
    >>> fp.check(fit, X, y, gpus=64)  # doctest: +SKIP
    """
    if callable(code):
        kwargs = dict(options.pop("kwargs", None) or {})
        where, rest = code_and_options(options, AUTO)
        return function_job(code, args, kwargs, where, rest).check()
    if args:
        raise WrongCallError("a command has no further arguments; write them into the command")
    if "git" not in options:
        options.setdefault("workspace", ".")
    where, rest = code_and_options(options, None)
    return command_job(code, where, rest).check()


def code_and_options(options: dict[str, Any], workspace: str | None) -> tuple[Code, Options]:
    """The words about code apart from the others; a wrong word is refused before any file is read."""
    words = {word: options.pop(word) for word in _CODE_WORDS if word in options}
    rest = read_options(options)
    if "workspace" not in words and words.get("git") is None:
        words["workspace"] = workspace
    elif "workspace" not in words:
        words["workspace"] = None
    return find_code(**words), rest


def function_job(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    code: Code,
    options: Options,
) -> Launch:
    """A function and its arguments as a job that can be sent."""
    if not callable(function):
        raise WrongCallError(f"the first argument must be a function, not {type(function).__name__}")
    name = getattr(function, "__name__", type(function).__name__)
    python, packages = interpreter(options.python, pickles=True)
    try:
        payload = encode((function, tuple(args), dict(kwargs)), f"function {name!r} with its arguments")
    except WrongCallError:
        _name_the_culprit(function, name, args, kwargs)
        raise
    source = {**code.source, "function": {"payload": payload.payload, "outputs": ["return"]}}
    spec = options.spec("job" if name == "<lambda>" else name, source=source, python=python)
    travels = [f"{name}() and its arguments {size(payload.blob.size)}", *_some(code.travels)]
    return Launch(spec, [*code.blobs, packages, payload.blob], travels, _told(code))


def _name_the_culprit(
    function: Callable[..., Any], name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """Encode one by one, so that the error names the part which cannot travel."""
    for place, value in enumerate(args, 1):
        encode(value, f"argument {place} of {name}()")
    for word, value in kwargs.items():
        encode(value, f"argument {word!r} of {name}()")
    encode(function, f"function {name!r}")


def cell_job(
    cell: str,
    inputs: Mapping[str, Any],
    outputs: Sequence[str],
    code: Code,
    options: Options,
) -> Launch:
    """A cell, the variables that it needs and the names that come back, as a job that can be sent.

    Raises
    ------
    SyntaxError
        If the cell is not Python.
    """
    compile(cell, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    for name in outputs:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise WrongCallError(f"-o {name!r} is not a variable's name")
    _check_assigned(cell, outputs)
    python, packages = interpreter(options.python, pickles=True)
    payload = blob_of(cell.encode())
    encoded = {name: encode(value, f"variable {name!r}") for name, value in inputs.items()}
    function = {
        "payload": {"encoding": "source", "digest": payload.digest},
        "inputs": {name: value.payload for name, value in encoded.items()},
        "outputs": list(outputs),
    }
    spec = options.spec("cell", source={**code.source, "function": function}, python=python)
    travels = [f"{name} {size(value.blob.size)}" for name, value in encoded.items()]
    blobs = [*code.blobs, packages, payload, *(value.blob for value in encoded.values())]
    return Launch(spec, blobs, [*_some(code.travels), *travels], _told(code))


def _check_assigned(cell: str, outputs: Sequence[str]) -> None:
    """Refuse an output that no statement of the cell could assign: an hour later is too late to hear it."""
    tree = ast.parse(cell)
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            # A name only read may still be an input that is handed back.
            names.add(node.id)
            if node.id in {"exec", "globals", "setattr"}:
                return
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            if node.name == "*":
                return
            names.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            names.add(node.name)
    for name in outputs:
        if name not in names:
            raise WrongCallError(f"-o {name}: the cell never assigns {name}")


def command_job(
    command: str | Sequence[str], code: Code, options: Options, name: str | None = None
) -> Launch:
    """A command as a job that can be sent."""
    words: str | list[str] = command if isinstance(command, str) else [str(word) for word in command]
    if not words or (isinstance(words, str) and not words.strip()):
        raise WrongCallError("there is no command to run")
    python, packages = interpreter(options.python, pickles=False)
    spec = options.spec(name or _named_after(words), source=code.source, command=words, python=python)
    return Launch(spec, [*code.blobs, packages], _some(code.travels), _told(code))


def _named_after(command: str | list[str]) -> str:
    """``python train.py --lr 3e-4`` is called ``train``: after the first file, else after the program."""
    words = command.split() if isinstance(command, str) else command
    for word in words:
        if Path(word).suffix in {".py", ".sh", ".ipynb"}:
            return Path(word).stem
    return Path(words[0]).name


def _some(text: str) -> list[str]:
    return [text] if text else []


def _told(code: Code) -> list[str]:
    return [*(f"left behind: {note}" for note in code.notes), *code.warnings]
