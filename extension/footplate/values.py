"""Variables on their way out and back: arrays as npy, tables as Arrow, everything else pickled.

Arrays and tables hold no code and can be opened by anyone. A pickle runs code when it is opened, so another
person's opens only when one says so by name.
"""

from __future__ import annotations

import hashlib
import io
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import IO, Any, Literal, cast

from footplate_spec import Payload
from footplate_spec.units import format_bytes

from .errors import FootplateError, UnpicklableError, UntrustedError, WrongCallError
from .uploads import Blob

__all__ = ["VALUE_LIMIT", "Encoded", "check_trust", "decode", "encode"]

VALUE_LIMIT = 8 * 2**30
_IN_MEMORY = 64 * 2**20

Encoding = Literal["source", "pickle", "npy", "arrow"]


@dataclass(frozen=True)
class Encoded:
    """A value as bytes with a name."""

    payload: Payload
    blob: Blob


class _Sink(io.RawIOBase):
    """A file that is hashed and measured while it is written, and refuses to grow beyond the limit."""

    def __init__(self, what: str) -> None:
        super().__init__()
        # Handed on to the blob, which reads it when it is sent.
        self.file = cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115
        self.sha = hashlib.sha256()
        self.size = 0
        self._what = what

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.size += view.nbytes
        if self.size > VALUE_LIMIT:
            raise WrongCallError(
                f"{self._what} is over {format_bytes(VALUE_LIMIT)}; "
                "write it to a volume and read it from there in the job (--volume NAME:PATH)"
            )
        self.file.write(view)
        self.sha.update(view)
        return view.nbytes


def encode(value: Any, what: str) -> Encoded:
    """One value as bytes.

    Parameters
    ----------
    what
        How an error calls it: ``variable 'X'``.

    Raises
    ------
    UnpicklableError
        If it cannot travel, with the reason.
    """
    encoding, write = _writer(value)
    sink = _Sink(what)
    try:
        write(sink)
    except FootplateError:
        raise
    except Exception as error:  # noqa: BLE001 (a value's own __reduce__ may raise anything)
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise UnpicklableError(
            f"{what} ({type(value).__name__}) cannot be sent: {reason}; "
            "create it inside the job, or send what it is made from"
        ) from None
    digest = f"sha256:{sink.sha.hexdigest()}"
    return Encoded(Payload(encoding=encoding, digest=digest), Blob(digest, sink.size, sink.file))


def _writer(value: Any) -> tuple[Encoding, Callable[[_Sink], None]]:
    """How a value is written. A library that was never imported has no values here."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject:
        return "npy", lambda sink: numpy.lib.format.write_array(sink, value, allow_pickle=False)
    if (
        _is_table(value)
        and (arrow := _arrow()) is not None
        and (table := _to_arrow(arrow, value)) is not None
    ):
        return "arrow", lambda sink: _write_arrow(arrow, table, sink)
    return "pickle", lambda sink: _pickle(value, sink)


def _pickle(value: Any, sink: _Sink) -> None:
    import cloudpickle

    cloudpickle.dump(value, sink)


def _is_table(value: Any) -> bool:
    return f"{type(value).__module__.split('.')[0]}.{type(value).__name__}" in {
        "pyarrow.Table",
        "pandas.DataFrame",
        "polars.DataFrame",
    }


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError:
        return None
    return pyarrow


def _to_arrow(arrow: Any, value: Any) -> Any:
    """A table that gives the same value back, or None: then it is pickled."""
    kind = type(value).__module__.split(".")[0]
    if kind == "pyarrow":
        return value
    try:
        if kind == "pandas":
            table = arrow.Table.from_pandas(value)
            same = table.to_pandas().dtypes.equals(value.dtypes)
            return table if same else None
        table = value.to_arrow()
        return table.replace_schema_metadata({**(table.schema.metadata or {}), b"footplate": b"polars"})
    except (arrow.ArrowException, TypeError, ValueError):
        return None  # columns of Python objects


def _write_arrow(arrow: Any, table: Any, sink: _Sink) -> None:
    with arrow.ipc.new_stream(arrow.PythonFile(sink, mode="w"), table.schema) as writer:
        writer.write_table(table)


def check_trust(payload: Payload, owner: str, me: str, trust: str | None) -> None:
    """Refuse to open another person's pickle without their name.

    Raises
    ------
    UntrustedError
        With the call that opens it.
    """
    if payload.encoding == "pickle" and owner not in {me, trust}:
        named = f"; you named {trust}" if trust else ""
        raise UntrustedError(
            f"this result was pickled by {owner}'s code, and opening it runs that code as you; "
            f'if you trust {owner}, say result(trust="{owner}"){named}'
        )


def decode(payload: Payload, file: IO[bytes], what: str) -> Any:
    """A value from its bytes, which are closed afterwards.

    Raises
    ------
    FootplateError
        If a library is missing here, or the bytes are not what they are said to be.
    """
    try:
        with file:
            return _READERS[payload.encoding](file)
    except ImportError as error:
        raise FootplateError(
            f"{what} needs {error.name or 'a package'} that is not installed here: {error}"
        ) from None
    except FootplateError:
        raise
    except Exception as error:  # noqa: BLE001 (a pickle may raise anything)
        raise FootplateError(f"{what} cannot be opened: {type(error).__name__}: {error}") from None


def _read_npy(file: IO[bytes]) -> Any:
    import numpy

    return numpy.lib.format.read_array(file, allow_pickle=False)


def _read_arrow(file: IO[bytes]) -> Any:
    import pyarrow
    import pyarrow.ipc

    start = file.read(6)
    file.seek(0)
    source = pyarrow.PythonFile(file, mode="r")
    opened = pyarrow.ipc.open_file(source) if start == b"ARROW1" else pyarrow.ipc.open_stream(source)
    table = opened.read_all()
    metadata = table.schema.metadata or {}
    if b"pandas" in metadata:
        return table.to_pandas()
    if metadata.get(b"footplate") == b"polars":
        return import_module("polars").from_arrow(table)
    return table


def _read_pickle(file: IO[bytes]) -> Any:
    import pickle

    return pickle.load(file)  # noqa: S301 (whose it is was checked by check_trust)


_READERS: dict[str, Callable[[IO[bytes]], Any]] = {
    "source": lambda file: file.read().decode(),
    "npy": _read_npy,
    "arrow": _read_arrow,
    "pickle": _read_pickle,
}
