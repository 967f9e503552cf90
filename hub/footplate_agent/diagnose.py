"""The first cause of a bad end, in one sentence. Pure: from the exit record and the end of the log."""

from __future__ import annotations

import re
import signal
from typing import Any, Dict, Mapping, Optional, Tuple

from .folder import ExitRecord

__all__ = ["diagnose"]

_ABOUT = {
    signal.SIGKILL: "somebody or the kernel killed it, most often because memory ran out",
    signal.SIGTERM: "something outside the platform asked it to end",
    signal.SIGSEGV: "a crash in native code",
    signal.SIGBUS: "a crash in native code, or shared memory (/dev/shm) is full",
    signal.SIGABRT: "native code gave up; its message is in the log",
    signal.SIGILL: "native code was built for another kind of CPU",
    signal.SIGFPE: "native code divided by zero",
    signal.SIGINT: "it was interrupted",
    signal.SIGPIPE: "it wrote to a program that had ended",
}
_TRACEBACK = re.compile(r"^Traceback \(most recent call last\):$", re.MULTILINE)
# The line that names an exception: not indented, a dotted name, then perhaps a message.
_EXCEPTION = re.compile(r"^(?P<name>[A-Za-z_][\w.]*)(?:: .*)?$")
_QUOTED = 300


def diagnose(
    record: ExitRecord,
    log_tail: str,
    start: Mapping[str, Any],
    *,
    error: Optional[str] = None,
    disk_full: bool = False,
) -> Optional[Dict[str, Any]]:
    """The cause as ``footplate_spec.Cause``, or None where nothing is wrong.

    Parameters
    ----------
    record
        How the keeper saw it end.
    log_tail
        The last kilobytes of the output.
    start
        ``start.json``, for whose replica it is.
    error
        What the runner of a cell or function says went wrong.
    disk_full
        Whether the disk that the log is on has no room: then the program could not say so itself.
    """
    found = _first_cause(record, log_tail, error)
    if found is not None and found[0] == "UserError" and disk_full:
        found = "DiskFull", f"The machine's disk for logs and working files is full. {found[1]}"
    if found is None:
        return None
    code, message = found
    return {
        "code": code,
        "message": message,
        "role": start.get("role"),
        "replica": start.get("replica"),
        "execution": record.execution,
        "exit_code": record.exit_code,
        "signal": record.signal,
    }


def _first_cause(  # noqa: PLR0911 - an ordered list of causes, the first of which counts
    record: ExitRecord, log_tail: str, error: Optional[str]
) -> Optional[Tuple[str, str]]:
    if record.lost:
        return "NodeLost", (
            "The process ended without an exit record: its machine was restarted, or its keeper was killed."
        )
    if record.cause is not None:
        return record.cause, record.message
    if record.oom:
        return "OutOfMemory", f"{record.message} Ask for more memory, or use less."
    if record.stopped == "time_limit":
        return (
            "TimeLimit",
            "The job reached its time limit and was stopped; raise time_limit or save checkpoints.",
        )
    if record.stopped is not None or (record.exit_code == 0 and not record.signal):
        return None
    raised = error or _raised(log_tail)
    if "No space left on device" in (raised or _last_lines(log_tail)):
        return "DiskFull", f"A disk is full: {_quote(raised or _last_lines(log_tail))}"
    if raised is not None and raised.split(":")[0].split(".")[-1] == "MemoryError":
        return (
            "OutOfMemory",
            f"The program ran out of memory ({_quote(raised)}). Ask for more memory, or use less.",
        )
    if not record.ran:
        return "UserError", record.message
    return "UserError", _ended(record, raised)


def _ended(record: ExitRecord, raised: Optional[str]) -> str:
    number = record.signal
    if number is None and record.exit_code is not None and record.exit_code > 128:
        number = record.exit_code - 128  # how a shell says that its child died by a signal
    name = _signal_name(number)
    if record.signal is not None:
        about = _ABOUT.get(record.signal, "")  # type: ignore[call-overload]
        return f"The program was ended by {name or f'signal {record.signal}'}{': ' + about if about else ''}."
    if raised is not None:
        return f"The program failed: {_quote(raised)}"
    if name is not None:
        about = _ABOUT.get(number, "")  # type: ignore[call-overload]
        return f"The program ended with exit code {record.exit_code} ({name}{': ' + about if about else ''})."
    if record.exit_code == 127:
        return "The program ended with exit code 127: its shell did not find a command; see the log."
    return f"The program ended with exit code {record.exit_code}; the end of its log says more."


def _signal_name(number: Optional[int]) -> Optional[str]:
    try:
        return None if number is None else signal.Signals(number).name
    except ValueError:
        return None


def _raised(log_tail: str) -> Optional[str]:
    """The line that names the exception of the last traceback, if the log ends with one."""
    if not _TRACEBACK.search(log_tail):
        return None
    after = log_tail[[match.end() for match in _TRACEBACK.finditer(log_tail)][-1] :]
    for line in after.splitlines():
        if line and not line.startswith(" ") and _EXCEPTION.match(line):
            return line.strip()
    return None


def _last_lines(log_tail: str) -> str:
    return " / ".join([line.strip() for line in log_tail.splitlines() if line.strip()][-3:])


def _quote(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _QUOTED else f"{line[:_QUOTED]}…"
