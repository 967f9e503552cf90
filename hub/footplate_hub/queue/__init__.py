"""The scheduling core: pure functions over plain dataclasses."""
