"""Pods by attempt: what is asked of one job's does not grow with the cluster."""

from __future__ import annotations

import asyncio

from footplate_hub.engines.kubernetes import names
from footplate_hub.engines.kubernetes.podindex import PodIndex


def pod(uid: str, attempt: str, phase: str = "Pending") -> dict:
    return {"metadata": {"uid": uid, "labels": {names.ATTEMPT: attempt}}, "status": {"phase": phase}}


def test_an_attempts_pods_are_found_as_they_are_now():
    index = PodIndex()
    before, after, other = pod("u1", "a"), pod("u1", "a", "Running"), pod("u2", "b")
    index.take(None, before)
    index.take(None, other)
    index.take(before, after)
    assert list(index.of("a")) == [after]
    assert (index.get("u1"), index.get("u2")) == (after, other)


def test_a_pod_that_is_gone_is_not_found():
    index = PodIndex()
    index.take(None, pod("u1", "a"))
    index.take(pod("u1", "a"), None)
    assert (list(index.of("a")), index.get("u1")) == ([], None)


def test_a_pod_that_was_never_seen_may_go():
    index = PodIndex()
    index.take(pod("u1", "a"), None)
    assert list(index.of("a")) == []


async def test_all_who_wait_for_an_attempt_are_woken_by_its_pods_alone():
    index = PodIndex()
    mine = [asyncio.create_task(index.change("a", 60)) for _ in range(2)]
    other = asyncio.create_task(index.change("b", 60))
    await asyncio.sleep(0)
    index.take(None, pod("u1", "a"))
    await asyncio.wait_for(asyncio.gather(*mine), 5)
    assert not other.done()
    other.cancel()


async def test_who_waits_in_vain_goes_on():
    index = PodIndex()
    await asyncio.wait_for(index.change("a", 0.001), 5)
