"""One platform for all, and for each module a browser that is logged in to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.released import Released, released
from support.up import Home, Kernel, Visitor, home


@pytest.fixture(scope="session")
def running() -> Iterator[Home]:
    """A platform that is up; a test that takes it down brings it up again."""
    with home() as found:
        found.up()
        yield found


@pytest.fixture(scope="module")
def person(running: Home) -> Iterator[Visitor]:
    """The person, logged in, with a dev machine."""
    visitor = running.visitor()
    visitor.start_machine()
    yield visitor
    visitor.close()


@pytest.fixture(scope="module")
def kernel(person: Visitor) -> Kernel:
    """A kernel on the person's dev machine."""
    return person.start_kernel()


@pytest.fixture(scope="session")
def release() -> Iterator[Released]:
    """The wheel, installed in an environment of its own."""
    with released() as found:
        yield found
