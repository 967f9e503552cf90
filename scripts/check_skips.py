"""Fail when a test was skipped for anything but a missing NVIDIA device: what does not run checks nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

ALLOWED = "needs an NVIDIA device"


def skipped(report: Path) -> list[str]:
    """The tests of a JUnit report that were skipped for another reason, with that reason."""
    return [
        f"{case.get('classname')}::{case.get('name')}: {skip.get('message')}"
        for case in ET.parse(report).iter("testcase")  # noqa: S314 - pytest wrote it a moment ago
        for skip in case.iter("skipped")
        if ALLOWED not in (skip.get("message") or "") and skip.get("type") != "pytest.xfail"
    ]


if __name__ == "__main__":
    found = skipped(Path(sys.argv[1]))
    sys.exit(f"{len(found)} tests were skipped" if found else 0)
