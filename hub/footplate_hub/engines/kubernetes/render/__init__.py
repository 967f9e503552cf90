"""From an attempt to manifests: pure, one file a kind."""

from .common import Context
from .job import render

__all__ = ["Context", "render"]
