"""Amounts as people say them: ``2 × (4 GPUs, 8 cores and 64Gi)``."""

from __future__ import annotations

from collections.abc import Sequence

from footplate_spec.units import quantity

from .model import Amount, Shape

__all__ = ["amount_words", "list_words", "need_words", "quantity"]


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
