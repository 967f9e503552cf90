"""What all tests share: which of them may run at the same time.

``make test`` runs two processes. All tests that start whole platforms belong to one of them, so that they
share what they start and never compete; the rest goes, file by file, to the other.
"""

from __future__ import annotations

from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
_WHOLE_PLATFORMS = {"browser", "faults", "hub"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name the group of each test."""
    for item in items:
        file = item.path.relative_to(_TESTS)
        group = "platforms" if file.parts[0] in _WHOLE_PLATFORMS else str(file)
        item.add_marker(pytest.mark.xdist_group(group))
