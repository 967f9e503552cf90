"""Runs a notebook's cell or a pickled function: ``<the user's python> runner.py <replica folder>``.

A file of its own, executed by the user's interpreter, which knows nothing of this package. It imports no
more than a cell needs, so that a cell starts as fast as ``python -c``. What it leaves behind is
``result/result.json``, written whole; the traceback looks as if the code had run by itself.
"""

from __future__ import annotations

import json
import os
import sys

TYPE_CHECKING = False  # as typing's, whose import costs a cell four milliseconds
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any, Dict, Tuple

    Call = Dict[str, Any]

_HERE = os.path.dirname(os.path.abspath(__file__))


class _Problem(Exception):  # noqa: N818 - a sentence for the user
    """One sentence for the user; there is no traceback to show."""


def main(folder: str) -> int:
    """Run the call that is laid out in ``folder`` and return the exit code."""
    with open(os.path.join(folder, "call", "call.json"), encoding="utf-8") as file:
        call = json.load(file)
    result = os.path.join(folder, "result")
    os.makedirs(result, mode=0o700, exist_ok=True)
    # As a script's: the working directory first; what the platform brings, last.
    sys.path[:] = [os.getcwd(), *(entry for entry in sys.path if entry != _HERE)]
    sys.path.append(os.path.join(_HERE, "vendored"))
    sys.argv = [""]
    outcome: Dict[str, Any] = {"outputs": {}, "error": None, "traceback": None}
    code = 0
    try:
        _check_version(call)
        values = _run_cell(call) if call["payload"]["encoding"] == "source" else _run_function(call)
        outcome["outputs"] = _write_outputs(values, result)
    except _Problem as problem:
        outcome["error"], code = str(problem), 1
        sys.stderr.write(f"{problem}\n")
    except SystemExit as leaving:
        code = _exit_code(leaving, outcome)
    except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is its result
        outcome["error"], outcome["traceback"] = _describe(error)
        code = 1
        sys.stdout.flush()
        sys.stderr.write(outcome["traceback"])
    _write_result(outcome, result)
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _check_version(call: Call) -> None:
    asked = call.get("python")
    mine = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if asked and asked != mine:
        raise _Problem(
            f"the job was written with Python {asked}, but this machine runs it with {mine}; "
            "pickled values need the same minor version on both sides"
        )


def _exit_code(leaving: SystemExit, outcome: Dict[str, Any]) -> int:
    """What ``sys.exit`` means: its number, or its text on stderr and 1."""
    if leaving.code is None or leaving.code == 0:
        outcome["error"] = "the code called sys.exit() before its outputs could be collected"
        return 0
    outcome["error"] = f"SystemExit: {leaving.code}"
    if isinstance(leaving.code, int):
        return leaving.code & 0xFF
    sys.stderr.write(f"{leaving.code}\n")
    return 1


# Cells and functions


def _run_cell(call: Call) -> Dict[str, Any]:
    """Execute the cell as ``__main__`` and return the named variables."""
    import ast
    import types

    with open(call["payload"]["file"], encoding="utf-8") as file:
        source = file.read()
    filename = f"<cell {call['job']}>"
    _prime_linecache(filename, source)
    module = types.ModuleType("__main__")
    module.__dict__.update(__builtins__=__builtins__)
    sys.modules["__main__"] = module
    space = module.__dict__
    for name, payload in call["inputs"].items():
        space[name] = _read_value(name, payload)
    tree = ast.parse(source, filename)
    shown = None
    # As in a notebook: the value of a trailing expression is shown, unless a semicolon says otherwise.
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Expr) and not _silenced(source):
        shown = ast.Expression(last.value)
        tree.body.pop()
    _execute(compile(tree, filename, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, True), space)
    if shown is not None:
        code = compile(shown, filename, "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, True)
        value = _execute(code, space)
        if value is not None:
            print(repr(value))  # noqa: T201 - this is the notebook's output
    missing = [name for name in call["outputs"] if name not in space]
    if missing:
        names = ", ".join(repr(name) for name in missing)
        raise _Problem(f"the cell was asked to return {names}, but never assigned it")
    return {name: space[name] for name in call["outputs"]}


def _silenced(source: str) -> bool:
    last = [line for line in source.splitlines() if line.strip() and not line.strip().startswith("#")][-1]
    return last.split("#")[0].rstrip().endswith(";")


def _execute(code: CodeType, space: Dict[str, Any]) -> Any:
    value = eval(code, space)
    if code.co_flags & 0x80:  # inspect.CO_COROUTINE: the cell awaits at its top level
        import asyncio

        return asyncio.run(value)
    return value


def _run_function(call: Call) -> Dict[str, Any]:
    payload = call["payload"]
    function, args, kwargs = _read_value("the function", payload)
    value = function(*args, **kwargs)
    if hasattr(value, "__await__"):
        import asyncio

        value = asyncio.run(_await(value))
    return {"return": value}


async def _await(value: Any) -> Any:
    return await value


def _prime_linecache(filename: str, source: str) -> None:
    """Let tracebacks show the cell's lines."""
    import linecache

    lines = source.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    linecache.cache[filename] = (len(source), None, lines, filename)


# Values in


def _read_value(name: str, payload: Dict[str, str]) -> Any:
    what = name if " " in name else f"input {name!r}"
    try:
        return _READERS[payload["encoding"]](payload["file"])
    except Exception as error:
        raise _Problem(
            f"{what} cannot be opened here: {type(error).__name__}: {error}; "
            "is the package that it needs installed in this Python?"
        ) from error


def _module(name: str) -> Any:
    """Import by name: these are the user's packages, not this one's dependencies."""
    import importlib

    return importlib.import_module(name)


def _read_pickle(path: str) -> Any:
    with open(path, "rb") as file:
        return _module("pickle").load(file)


def _read_npy(path: str) -> Any:
    return _module("numpy").load(path, allow_pickle=False)


def _read_arrow(path: str) -> Any:
    arrow = _module("pyarrow")
    ipc = _module("pyarrow.ipc")
    with open(path, "rb") as file:
        magic = file.read(6)
    with arrow.OSFile(path) as source:
        reader = ipc.open_file(source) if magic == b"ARROW1" else ipc.open_stream(source)
        table = reader.read_all()
    metadata = table.schema.metadata or {}
    if b"pandas" in metadata:
        return table.to_pandas()
    if metadata.get(b"footplate") == b"polars":
        return _module("polars").from_arrow(table)
    return table


_READERS = {"pickle": _read_pickle, "npy": _read_npy, "arrow": _read_arrow}


# Values out


def _write_outputs(values: Dict[str, Any], result: str) -> Dict[str, Any]:
    written = {}
    for number, (name, value) in enumerate(values.items()):
        file = f"value-{number}"
        written[name] = {"encoding": _write_value(name, value, os.path.join(result, file)), "file": file}
    return written


def _write_value(name: str, value: Any, path: str) -> str:
    """Write one value and return how: code-free formats first, so that others can open it."""
    numpy = sys.modules.get("numpy")  # a library that was never imported has no values here
    if numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject:
        with open(path, "wb") as file:
            numpy.lib.format.write_array(file, value, allow_pickle=False)
        return "npy"
    table = _as_table(value)
    if table is not None:
        with open(path, "wb") as file, _module("pyarrow.ipc").new_stream(file, table.schema) as writer:
            writer.write_table(table)
        return "arrow"
    try:
        pickler = _pickler()
        with open(path, "wb") as file:
            pickler.dump(value, file)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - a value's own __reduce__ may raise anything
        what = "the return value" if name == "return" else f"output {name!r}"
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise _Problem(
            f"{what} ({type(value).__name__}) cannot be sent back: {reason}; "
            "return what it is made from, or write it to $FOOTPLATE_OUTPUT"
        ) from None
    return "pickle"


def _pickler() -> Any:
    """The user's own cloudpickle, else the one that came with this file, else what Python has."""
    try:
        return _module("cloudpickle")
    except ImportError:
        return _module("pickle")


def _as_table(value: Any) -> Any:
    """An Arrow table that gives the same value back, or None."""
    kind = f"{type(value).__module__.split('.')[0]}.{type(value).__name__}"
    if kind not in ("pyarrow.Table", "pandas.DataFrame", "polars.DataFrame"):
        return None
    try:
        arrow = _module("pyarrow")
    except ImportError:
        return None
    if kind == "pyarrow.Table":
        return value
    try:
        if kind == "polars.DataFrame":
            table = value.to_arrow()
            metadata = {**(table.schema.metadata or {}), b"footplate": b"polars"}
            return table.replace_schema_metadata(metadata)
        table = arrow.Table.from_pandas(value)
        return table if table.to_pandas().dtypes.equals(value.dtypes) else None
    except (arrow.ArrowException, TypeError, ValueError):
        return None  # columns of Python objects


# What went wrong


def _describe(error: BaseException) -> Tuple[str, str]:
    """The last line, and the traceback as Python shows it, without this file's frames."""
    import traceback

    place = error.__traceback__
    while place is not None and place.tb_frame.f_code.co_filename == __file__:
        place = place.tb_next
    text = "".join(traceback.format_exception(type(error), error, place))
    line = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]
    return line, text


def _write_result(outcome: Dict[str, Any], result: str) -> None:
    fresh = os.path.join(result, "result.json.new")
    with open(fresh, "w", encoding="utf-8") as file:
        json.dump(outcome, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(fresh, os.path.join(result, "result.json"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
