"""The copy of a list stays true through breaks, forgotten versions and missed deletions."""

from __future__ import annotations

import asyncio

import pytest

from footplate_hub.engines.kubernetes import informer as module
from footplate_hub.engines.kubernetes.api import ApiError, Gone
from footplate_hub.engines.kubernetes.informer import Informer


def item(uid: str, version: int) -> dict:
    return {"metadata": {"uid": uid, "name": uid, "resourceVersion": str(version)}}


class Server:
    """Lists and watches that a test has written down; the last watch never ends."""

    def __init__(self, lists, watches):
        self.lists, self.watches = list(lists), list(watches)
        self.asked: list[str] = []

    async def list(self, path, *, keep, **query):
        while not self.lists:
            await asyncio.sleep(0.001)
        found = self.lists.pop(0)
        if isinstance(found, Exception):
            raise found
        items, version = found
        return [keep(item) for item in items], version

    async def watch(self, path, version, **query):
        self.asked.append(version)
        if not self.watches:
            await asyncio.Event().wait()
        for event in self.watches.pop(0):
            if isinstance(event, Exception):
                raise event
            yield event


async def follow(server: Server, monkeypatch) -> list[tuple[str | None, str | None]]:
    monkeypatch.setattr(module, "_PAUSE_FIRST", 0.001)
    told: list[tuple[str | None, str | None]] = []

    def name(of):
        return None if of is None else f"{of['metadata']['uid']}@{of['metadata']['resourceVersion']}"

    copy = Informer(server, "/pods", lambda before, after: told.append((name(before), name(after))))
    await copy.sync()
    task = asyncio.create_task(copy.run())
    async with asyncio.timeout(5):
        while server.watches or len(server.asked) == 0:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
    task.cancel()
    return told


async def test_what_is_there_is_told_then_what_changes(monkeypatch):
    events = [("ADDED", item("b", 6)), ("MODIFIED", item("a", 7)), ("DELETED", item("b", 8))]
    server = Server([([item("a", 3)], "5")], [events])
    assert await follow(server, monkeypatch) == [
        (None, "a@3"),
        (None, "b@6"),
        ("a@3", "a@7"),
        ("b@6", None),
    ]


async def test_a_watch_that_breaks_goes_on_where_it_was(monkeypatch):
    server = Server(
        [([item("a", 3)], "5")],
        [[("BOOKMARK", item("x", 9)), ApiError(0, "", "broke")], [("DELETED", item("a", 10))]],
    )
    told = await follow(server, monkeypatch)
    assert server.asked[:2] == ["5", "9"]
    assert told == [(None, "a@3"), ("a@3", None)]


async def test_a_forgotten_version_is_read_anew_and_what_was_missed_is_told(monkeypatch):
    server = Server(
        [([item("a", 3), item("b", 4)], "5"), ([item("b", 8), item("c", 9)], "12")],
        [[Gone()], []],
    )
    told = await follow(server, monkeypatch)
    assert told == [(None, "a@3"), (None, "b@4"), ("a@3", None), ("b@4", "b@8"), (None, "c@9")]
    assert "12" in server.asked


async def test_trouble_is_remembered_until_it_is_over(monkeypatch):
    server = Server([([], "1"), ApiError(403, "Forbidden", "may not list")], [[Gone()]])
    monkeypatch.setattr(module, "_PAUSE_FIRST", 0.001)
    copy = Informer(server, "/pods", lambda before, after: None)
    await copy.sync()
    task = asyncio.create_task(copy.run())
    async with asyncio.timeout(5):
        while copy.trouble is None:
            await asyncio.sleep(0.001)
    assert copy.trouble == "may not list"
    server.lists.append(([], "7"))
    async with asyncio.timeout(5):
        while copy.trouble is not None:
            await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_is_not_kept_is_not_told():
    server = Server([([{**item("a", 1), "long": 1}], "1")], [[("ADDED", {**item("b", 2), "long": 1})]])
    told = []
    copy = Informer(
        server,
        "/pods",
        lambda before, after: told.append(after),
        keep=lambda whole: {"metadata": whole["metadata"]},
    )
    await copy.sync()
    task = asyncio.create_task(copy.run())
    async with asyncio.timeout(5):
        while len(told) < 2:
            await asyncio.sleep(0.001)
    task.cancel()
    assert told == [item("a", 1), item("b", 2)] == list(copy.items.values())
