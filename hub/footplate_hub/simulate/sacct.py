"""What Slurm's accounting printed, of jobs and not of their steps.

``sacct --parsable2 --allocations --allusers --starttime …`` with
``--format=JobID,Submit,Start,End,Timelimit,ReqTRES,AllocTRES,NNodes,Account,User,JobName`` gives all columns
that are read; those needed are JobID, Submit, Start, End and one of ReqTRES and AllocTRES. Times are ISO 8601
or, with ``SLURM_TIME_FORMAT=%s``, Unix seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from footplate_spec.units import parse_bytes

from ..queue.model import Amount, RoleShape
from .table import Row, rows
from .trace import Shapes, Trace, TraceError, TraceJob, by_submission, one_role

__all__ = ["looks_like", "read_jobs"]

_COLUMNS = ("JobID", "Submit", "Start", "End")
_NEVER = {"", "None", "Unknown"}


def looks_like(first: str) -> bool:
    """Whether a file with this first line is sacct's parsable output."""
    return "JobID" in first.split("|")


def read_jobs(file: Path) -> Trace:
    """Jobs that ran; their steps, and jobs that never started, are left out."""
    shapes = Shapes()
    found: list[tuple[float, TraceJob]] = []
    never = 0
    for row in rows(file, _COLUMNS, None, delimiter="|"):
        if "." in row.text("JobID"):
            continue
        if row.text("Start") in _NEVER or row.text("End") in _NEVER:
            never += 1
            continue
        found.append(_job(row, shapes))
    if not found:
        raise TraceError("has no jobs that ran and ended", file)
    begins = min(submit for submit, _ in found)
    jobs = by_submission(replace(job, submit=submit - begins) for submit, job in found)
    notes = (f"{never} jobs that never ran or have not ended are left out",) if never else ()
    return Trace(jobs, notes=notes)


def _job(row: Row, shapes: Shapes) -> tuple[float, TraceJob]:
    submit, start, end = (_time(row, column) for column in ("Submit", "Start", "End"))
    if end < start:
        raise row.wrong(f"the job ends before it starts: {row.text('Start')}, {row.text('End')}")
    nodes = row.whole("NNodes", 1, least=1)
    need, flavors = _need(row, nodes)
    group = row.text("Account", "default")
    return submit, TraceJob(
        id=row.text("JobID"),
        submit=0.0,
        duration=end - start,
        shape=shapes.one(one_role(RoleShape("worker", nodes, need, flavors))),
        time_limit=_limit(row, end - start),
        group=group,
        owner=row.text("User"),
        name=row.text("JobName"),
        line=row.line,
    )


def _time(row: Row, column: str) -> float:
    text = row.text(column)
    try:
        if re.fullmatch(r"\d+", text):
            return float(text)
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise row.wrong(f"{column} is {text!r}; give ISO 8601 or Unix seconds") from None


def _limit(row: Row, duration: float) -> int:
    """Seconds of ``Timelimit``: minutes, [days-]hours:minutes:seconds, or none at all."""
    text = row.text("Timelimit")
    if text in {"UNLIMITED", "Partition_Limit", ""}:
        return max(86400, int(duration) + 1)
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+)(?::(\d+))?", text)
    if match is None:
        raise row.wrong(f"Timelimit is {text!r}; sacct writes days-hours:minutes:seconds")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    # Slurm ends a job up to its OverTimeLimit late: what ran longer than its limit ran.
    return max(days * 86400 + hours * 3600 + minutes * 60 + seconds, int(duration) + 1)


def _need(row: Row, nodes: int) -> tuple[Amount, tuple[str, ...]]:
    """What one node of the job gives, and the kind of GPU where the job named one."""
    text = row.text("ReqTRES") or row.text("AllocTRES")
    total = {"cpu": 0, "mem": 0, "gres/gpu": 0}
    flavors: tuple[str, ...] = ()
    for name, amount in _parts(row, text):
        if name.startswith("gres/gpu:"):
            flavors = (name.partition(":")[2].lower(),)
            total["gres/gpu"] = max(total["gres/gpu"], int(amount))
        elif name == "mem":
            total["mem"] = _memory(row, amount)
        elif name in total:
            total[name] = int(amount)
    cpu, memory, gpu = total["cpu"] * 1000, total["mem"], total["gres/gpu"]
    if gpu % nodes:
        raise row.wrong(f"{gpu} GPUs do not divide into {nodes} nodes; such a job cannot be simulated")
    return Amount(-(-cpu // nodes), -(-memory // nodes), gpu // nodes), flavors


def _parts(row: Row, text: str) -> Iterator[tuple[str, str]]:
    for part in filter(None, text.split(",")):
        name, equals, amount = part.partition("=")
        if not equals or not (name == "mem" or amount.isdigit() or name in {"billing", "energy"}):
            raise row.wrong(f"{part!r} is not a resource that Slurm writes (cpu=8,mem=64G,gres/gpu=1)")
        yield name, amount


def _memory(row: Row, amount: str) -> int:
    """Slurm's units are binary."""
    try:
        return parse_bytes(re.sub(r"([KMGTP])$", r"\1i", amount))
    except ValueError as error:
        raise row.wrong(str(error)) from None
