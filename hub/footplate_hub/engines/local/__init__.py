"""One machine as a cluster."""

from .engine import LocalEngine

__all__ = ["LocalEngine"]
