"""``%train``, ``%%train`` and the magics that look after jobs.

A cell streams and blocks like any cell. Its handle is in the namespace before the wait begins, and an
interrupt detaches: the job goes on. A wrong call is one line, and nothing was sent.
"""

from __future__ import annotations

import ast
import difflib
import functools
import sys
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

import click
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, no_var_expand
from IPython.display import display

from . import session
from .errors import CellSyntaxError, UntrustedError, WrongCallError
from .flags import CellFlags, code_of, parse, read_cell_line, script_job
from .handle import Job
from .launch import Launch, cell_job
from .watching import NotebookScreen, Screen, TextScreen, watch

__all__ = ["FootplateMagics"]

_F = TypeVar("_F", bound=Callable[..., Any])


def _one_line_for_a_wrong_call(magic: _F) -> _F:
    """Turn a wrong call into IPython's ``UsageError``, which is shown as one line."""

    @functools.wraps(magic)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return magic(*args, **kwargs)
        except CellSyntaxError:
            raise
        except WrongCallError as error:
            if not str(error):
                return None  # --help has been printed
            raise UsageError(str(error)) from None

    return called  # type: ignore[return-value]


@magics_class
class FootplateMagics(Magics):
    """The magics of one shell."""

    def __init__(self, shell: Any = None, **more: Any) -> None:
        super().__init__(shell, **more)
        self._explained: dict[str, Job] = {}

    @property
    def _names(self) -> dict[str, Any]:
        assert self.shell is not None
        names: dict[str, Any] = self.shell.user_ns
        return names

    @no_var_expand
    @line_cell_magic
    @_one_line_for_a_wrong_call
    def train(self, line: str, cell: str | None = None) -> None:
        """Run a script (``%train [options] train.py ...``) or this cell (``%%train [options]``) as a job.

        ``%train --help`` lists the options. The job's handle is named ``job``, or what ``--as`` says.
        """
        flags = read_cell_line(line, "%train" if cell is None else "%%train")
        if not flags.as_name.isidentifier():
            raise WrongCallError(f"--as {flags.as_name!r} is not a variable's name")
        launch = self._script(flags) if cell is None else self._cell(flags, cell)
        if launch is None:
            return
        told = launch.say()
        if told:
            sys.stdout.write(told)
        try:
            job = launch.send()
        except KeyboardInterrupt:
            sys.stdout.write("interrupted while it was being sent; %jobs shows whether it was queued\n")
            raise
        self._names[flags.as_name] = job
        if flags.detach:
            display(job)  # type: ignore[no-untyped-call]
            return
        self._show(job, flags.outputs)

    @staticmethod
    def _script(flags: CellFlags) -> Launch:
        if not flags.words:
            raise WrongCallError(
                "%train needs a script: %train --gpus 1 train.py; a cell begins with %%train"
            )
        if flags.inputs or flags.outputs:
            raise WrongCallError("-i and -o go with a cell (%%train); a script reads and writes files")
        return script_job(flags.words, flags.code, flags.options)

    def _cell(self, flags: CellFlags, cell: str) -> Launch | None:
        if flags.words:
            raise WrongCallError(
                f"%%train runs the cell below it; {flags.words[0]!r} does not belong on its line"
            )
        if not cell.strip():
            raise WrongCallError("the cell is empty")
        missing = [name for name in flags.inputs if name not in self._names]
        if missing:
            names = [name for name in self._names if not name.startswith("_")]
            near = difflib.get_close_matches(missing[0], names, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise WrongCallError(f"-i {missing[0]}: there is no such variable here{hint}")
        inputs = {name: self._names[name] for name in flags.inputs}
        try:
            compile(cell, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        except SyntaxError as error:
            shown = "".join(traceback.format_exception_only(error))
            raise CellSyntaxError(shown) from None
        return cell_job(cell, inputs, flags.outputs, code_of(flags.code, whole=False), flags.options)

    def _show(self, job: Job, outputs: tuple[str, ...] = (), trust: str | None = None) -> None:
        """Watch a job; when it has ended, bring its variables home or raise what it failed of."""
        watched = watch(job, job.client, self._screen())
        if not watched.ended:
            return
        job.refresh()
        job.raise_for_failure(watched.tail)
        if outputs:
            values = job.values(trust)
            self._names.update({name: values[name] for name in outputs if name in values})

    def _screen(self) -> Screen:
        in_notebook = getattr(self.shell, "kernel", None) is not None
        return NotebookScreen() if in_notebook else TextScreen(sys.stdout)

    @line_magic
    @_one_line_for_a_wrong_call
    def jobs(self, line: str) -> Any:
        """List jobs, newest first.

        ``%jobs [--state STATE] [--group GROUP] [--owner NAME] [--array JOB] [--limit N]``
        """
        return session.jobs(**_read(_JOBS, line, "%jobs"))

    @line_magic
    @_one_line_for_a_wrong_call
    def logs(self, line: str) -> None:
        """Print what a job printed: ``%logs [-f] [--replica N] [--role ROLE] [--tail BYTES] [JOB]``."""
        given = _read(_LOGS, line, "%logs")
        job = self._job(given.pop("job"))
        if given.pop("follow"):
            watch(job, job.client, self._screen(), role=given["role"], replica=given["replica"])
            return
        sys.stdout.write(job.logs(**given) or "")

    @line_magic
    @_one_line_for_a_wrong_call
    def why(self, line: str) -> Any:
        """Say why a job waits, runs as it does, or failed, and what would start it: ``%why [JOB]``.

        ``%why --apply N [JOB]`` makes the change with number N of those that were shown last.
        """
        given = _read(_WHY, line, "%why")
        job = self._job(given["job"])
        # Of a job that is named by its id, too, the changes are those that were shown.
        job = self._explained.setdefault(job.id, job)
        if given["number"] is None:
            return job.why()
        fix = job.fix(given["number"])
        job.apply(fix)
        sys.stdout.write(f"{job.id}: {fix.sentence}\n")
        return job

    @line_magic
    @_one_line_for_a_wrong_call
    def stop(self, line: str) -> None:
        """Stop jobs: ``%stop [JOB ...]``."""
        for name in _read(_MANY, line, "%stop")["jobs"] or ("",):
            job = self._job(name).cancel()
            sys.stdout.write(f"{job!r}\n")

    @line_magic
    @_one_line_for_a_wrong_call
    def attach(self, line: str) -> None:
        """Watch a job again, from any kernel: ``%attach [--as NAME] [--trust OWNER] JOB``.

        Its handle is put into the namespace, and when it has ended well, the variables of its cell too.
        """
        given = _read(_ATTACH, line, "%attach")
        job = self._job(given["job"])
        self._names[given["as_name"]] = job
        function = job.view().spec.source.function
        outputs = tuple(name for name in function.outputs if name.isidentifier()) if function else ()
        outputs = tuple(name for name in outputs if name != "return")
        try:
            self._show(job, outputs, given["trust"])
        except UntrustedError as error:
            raise WrongCallError(f"{error}, or %attach --trust {job.owner} {job.id}") from None

    @line_magic
    @_one_line_for_a_wrong_call
    def quota(self, line: str) -> Any:
        """Show what your groups may use, use and wait for: ``%quota``."""
        _read(_NOTHING, line, "%quota")
        return session.quota()

    def _job(self, name: str | None) -> Job:
        """A job by its id, or by the variable that holds its handle; the last one where nothing is said."""
        held = self._names.get(name or "job")
        if isinstance(held, Job):
            return held
        if not name:
            raise WrongCallError("which job? name its id or the variable of its handle; %jobs lists them")
        return session.attach(name)


def _read(command: click.Command, line: str, name: str) -> dict[str, Any]:
    """A magic's line by click's rules, as keyword arguments."""
    return dict(parse(command, line, name).params)


def _command(*parameters: click.Parameter) -> click.Command:
    return click.Command(None, params=list(parameters))


_JOB = click.Argument(["job"], required=False)
_NOTHING = _command()
_WHY = _command(click.Option(["--apply", "number"], type=click.IntRange(1)), _JOB)
_MANY = _command(click.Argument(["jobs"], nargs=-1))
_JOBS = _command(
    click.Option(["--state"]),
    click.Option(["--group"]),
    click.Option(["--owner"]),
    click.Option(["--array", "parent"]),
    click.Option(["--limit"], type=click.IntRange(1, 10_000), default=20),
)
_LOGS = _command(
    click.Option(["--follow", "-f"], is_flag=True),
    click.Option(["--replica"], type=click.IntRange(0), default=0),
    click.Option(["--role"]),
    click.Option(["--attempt"], type=click.IntRange(1)),
    click.Option(["--execution"], type=click.IntRange(1)),
    click.Option(["--tail"], type=click.IntRange(1)),
    _JOB,
)
_ATTACH = _command(
    click.Option(["--as", "as_name"], default="job"),
    click.Option(["--trust"]),
    click.Argument(["job"]),
)
