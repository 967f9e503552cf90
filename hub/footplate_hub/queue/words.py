"""Amounts as people say them: ``2 × (4 GPUs, 8 cores and 64Gi)``."""

from __future__ import annotations

from collections.abc import Sequence

from footplate_spec.units import format_bytes, format_cpu

from .model import Amount, Shape

__all__ = ["amount_words", "list_words", "need_words", "quantity"]


def quantity(amount: int, resource: str) -> str:
    """One resource: ``2 GPUs``, ``1.5 cores``, ``64Gi of memory``."""
    if resource == "gpu":
        return f"{amount} GPU" if amount == 1 else f"{amount} GPUs"
    if resource == "cpu":
        return f"{format_cpu(amount)} core" if amount == 1000 else f"{format_cpu(amount)} cores"
    return f"{format_bytes(amount)} of memory"


def amount_words(amount: Amount) -> str:
    """All resources that are not zero."""
    parts = [
        quantity(value, name)
        for name in ("gpu", "cpu", "memory")
        if (value := getattr(amount, name)) or name == "cpu"
    ]
    return list_words(parts)


def need_words(shape: Shape) -> str:
    """What a gang asks for, role by role."""
    parts = []
    for role in shape.roles:
        words = amount_words(role.need)
        parts.append(words if role.replicas == 1 else f"{role.replicas} × ({words})")
    return " + ".join(parts)


def list_words(parts: Sequence[str], last: str = "and") -> str:
    """``a, b and c``."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"
