"""From an attempt to manifests: pure, one file a kind."""

from .common import Context
from .podgroup import API as GANGS
from .whole import KINDS, Kind, render, render_again

__all__ = ["GANGS", "KINDS", "Context", "Kind", "render", "render_again"]
