"""The scheduling core: pure functions over plain data, no I/O, no clock of its own."""

from .model import Plan, Snapshot
from .schedule import schedule

__all__ = ["Plan", "Snapshot", "schedule"]
