"""Quantities as people write them (``500m``, ``64Gi``, ``2h``), as the numbers the platform computes with.

CPU is counted in thousandths of a core, memory in bytes, time in seconds: whole numbers, so that sums
are exact. The suffixes are those of Kubernetes quantities; times follow Go's and systemd's habit.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer

__all__ = [
    "Bytes",
    "Cpu",
    "Seconds",
    "format_about",
    "format_bytes",
    "format_cpu",
    "format_seconds",
    "parse_bytes",
    "parse_cpu",
    "parse_seconds",
    "quantity",
]

_BYTES = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_BYTES |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_NUMBER = r"(\d+(?:\.\d+)?)"


def parse_cpu(value: Any) -> int:
    """Thousandths of a core from ``2``, ``0.5``, ``"2"``, ``"500m"``.

    Raises
    ------
    ValueError
        If the text is not a count of cores, or finer than a thousandth.
    """
    text = str(value).strip()
    match = re.fullmatch(_NUMBER + r"(m?)", text)
    if match is None or isinstance(value, bool):
        raise ValueError(f"{value!r} is not a number of CPU cores; write 2, 0.5 or 500m")
    thousandths = Decimal(match[1]) * (1 if match[2] else 1000)
    if thousandths != int(thousandths):
        raise ValueError(f"{value!r} is finer than a thousandth of a core")
    return int(thousandths)


def parse_bytes(value: Any) -> int:
    """Bytes from ``1024``, ``"64Gi"``, ``"1.5G"``.

    Raises
    ------
    ValueError
        If the text is not an amount of memory, or not a whole number of bytes.
    """
    text = str(value).strip()
    match = re.fullmatch(_NUMBER + r"\s*([kKMGTP]i?|)B?", text)
    if match is None or isinstance(value, bool) or match[2] not in _BYTES:
        raise ValueError(f"{value!r} is not an amount of memory; write 512Mi, 64Gi or a number of bytes")
    amount = Decimal(match[1]) * _BYTES[match[2]]
    if amount != int(amount):
        raise ValueError(f"{value!r} is not a whole number of bytes")
    return int(amount)


def parse_seconds(value: Any) -> int:
    """Seconds from ``90``, ``"20m"``, ``"2h"``, ``"1h30m"``, ``"1d"``.

    Raises
    ------
    ValueError
        If the text is not a length of time, or finer than a second.
    """
    text = str(value).strip().replace(" ", "")
    if isinstance(value, bool):
        text = ""
    if re.fullmatch(_NUMBER, text):
        text += "s"
    parts = re.findall(_NUMBER + r"([smhdw])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{value!r} is not a length of time; write 90s, 20m, 2h or 1h30m")
    seconds = sum(Decimal(number) * _SECONDS[unit] for number, unit in parts)
    if seconds != int(seconds):
        raise ValueError(f"{value!r} is finer than a second")
    return int(seconds)


def format_cpu(thousandths: int) -> str:
    """``1500`` as ``1.5`` (cores)."""
    return f"{thousandths / 1000:g}"


def format_bytes(amount: int) -> str:
    """``68719476736`` as ``64Gi``: the largest binary suffix, at most one decimal."""
    for suffix in ("Pi", "Ti", "Gi", "Mi", "Ki"):
        unit = _BYTES[suffix]
        if amount >= unit:
            scaled = round(amount / unit, 1)
            return f"{scaled:g}{suffix}"
    return f"{amount}"


def format_seconds(seconds: float) -> str:
    """``5400`` as ``1h30m``: the two largest units that are not zero."""
    left = round(seconds)
    if left <= 0:
        return "0s"
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, _SECONDS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2])


def format_about(seconds: float) -> str:
    """The time within which something happens, no finer than people care: ``3599`` as ``1h``, at least 1s."""
    step = 1 if seconds <= 120 else 60 if seconds <= 7200 else 300 if seconds <= 86400 else 3600
    return format_seconds(max(math.ceil(seconds / step) * step, 1))


def quantity(amount: int, resource: str) -> str:
    """An amount of ``cpu``, ``memory`` or ``gpu``: ``2 GPUs``, ``1.5 cores``, ``64Gi of memory``."""
    if resource == "gpu":
        return f"{amount} GPU" if amount == 1 else f"{amount} GPUs"
    if resource == "cpu":
        return f"{format_cpu(amount)} core" if amount == 1000 else f"{format_cpu(amount)} cores"
    return f"{format_bytes(amount)} of memory"


Cpu = Annotated[
    int,
    BeforeValidator(parse_cpu),
    PlainSerializer(format_cpu, return_type=str),  # "1.5": the number alone would be read as cores
    Field(json_schema_extra={"examples": ["500m", 2, 0.5]}),
]
Bytes = Annotated[int, BeforeValidator(parse_bytes), Field(json_schema_extra={"examples": ["64Gi"]})]
Seconds = Annotated[int, BeforeValidator(parse_seconds), Field(json_schema_extra={"examples": ["2h"]})]
