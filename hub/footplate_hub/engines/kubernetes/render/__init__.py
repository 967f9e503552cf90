"""From an attempt to manifests: pure, one file a kind."""

from .common import Context
from .whole import KINDS, Kind, render, render_again

__all__ = ["KINDS", "Context", "Kind", "render", "render_again"]
