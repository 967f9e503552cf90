"""What a notebook imports."""

from footplate_spec import __version__

__all__ = ["__version__"]
