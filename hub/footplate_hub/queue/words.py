"""Amounts as people say them: ``2 × (4 GPUs, 8 cores and 64Gi of memory)``."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from footplate_spec.units import format_bytes, format_cpu, quantity

from .model import Amount, Shape

__all__ = ["RESOURCES", "amount_words", "bare", "list_words", "need_words", "quantity"]

RESOURCES = ("gpu", "cpu", "memory")  # in the order in which people name them


def amount_words(amount: Amount, names: Collection[str] = RESOURCES) -> str:
    """The resources of these names that are not zero."""
    parts = [
        quantity(value, name) for name in RESOURCES if name in names and (value := getattr(amount, name))
    ]
    return list_words(parts) or "nothing"


def bare(amount: int, name: str) -> str:
    """An amount where its resource was named just before: ``4``, ``1.5``, ``64Gi``."""
    if name == "memory":
        return format_bytes(amount)
    return format_cpu(amount) if name == "cpu" else str(amount)


def need_words(shape: Shape, names: Collection[str] = RESOURCES) -> str:
    """What a gang asks for of these resources, role by role."""
    parts = []
    for role in shape.roles:
        asked = [name for name in names if getattr(role.need, name)]
        if asked:
            words = amount_words(role.need, names)
            several = f"({words})" if len(asked) > 1 else words
            parts.append(words if role.replicas == 1 else f"{role.replicas} × {several}")
    return " + ".join(parts)


def list_words(parts: Sequence[str], last: str = "and") -> str:
    """``a, b and c``."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"
