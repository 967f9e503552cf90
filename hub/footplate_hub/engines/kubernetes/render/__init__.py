"""From an attempt to manifests: pure, one file a kind."""

from .common import Context
from .job import render, render_again

__all__ = ["Context", "render", "render_again"]
