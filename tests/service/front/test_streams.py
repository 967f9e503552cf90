"""Logs, metrics, events: appended, read by range, followed, resumed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import func, select

from footplate_hub.logs import LogId, Logs
from footplate_hub.retention import Retention
from footplate_hub.store import tables
from support.service import ADA, BOB, EVE, ROOT, Service, run_service


async def write(
    replica: httpx.AsyncClient, data: bytes, offset: int, execution: int = 1, **headers: str
) -> httpx.Response:
    return await replica.put(
        "agent/logs", params={"execution": execution, "offset": offset}, content=data, headers=headers
    )


@asynccontextmanager
async def following(
    service: Service, job: str, **params: Any
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    async with service.as_(ADA).stream("GET", f"jobs/{job}/follow", params=params) as response:
        assert response.status_code == 200

        async def items() -> AsyncIterator[dict[str, Any]]:
            async for line in response.aiter_lines():
                yield json.loads(line)

        yield items()


async def collect(service: Service, job: str, **params: Any) -> list[dict[str, Any]]:
    async with following(service, job, **params) as items:
        return [item async for item in items]


def text(items: list[dict[str, Any]]) -> str:
    return "".join(item["text"] for item in items if item["kind"] == "log")


async def test_a_log_grows_only_at_its_end(service: Service) -> None:
    job = await service.submit()
    replica = service.as_replica(await service.control.place(job))
    first = await write(replica, b"one\n", 0)
    again = await write(replica, b"one\n", 0)
    ahead = await write(replica, b"three\n", 99)
    second = await write(replica, b"two\n", 4)
    got = await service.as_(ADA).get(f"jobs/{job}/logs/worker/0")
    assert [a.status_code for a in (first, again, ahead, second)] == [204, 409, 409, 204]
    assert [a.headers["Log-Size"] for a in (first, again, ahead, second)] == ["4", "4", "4", "8"]
    assert got.content == b"one\ntwo\n"


async def test_a_log_is_read_by_range_and_by_execution(service: Service) -> None:
    job = await service.submit()
    attempt = await service.control.place(job)
    replica, ada = service.as_replica(attempt), service.as_(ADA)
    early = await ada.get(f"jobs/{job}/logs/worker/0", headers={"Range": "bytes=-10"})
    await write(replica, b"0123456789", 0)
    not_asked_for = await write(replica, b"x", 0, execution=2)
    await service.control.execution(attempt, 2)
    await write(replica, b"second", 0, execution=2)

    async def read(range_: str, **params: int) -> httpx.Response:
        return await ada.get(f"jobs/{job}/logs/worker/0", params=params, headers={"Range": range_})

    assert (early.status_code, not_asked_for.status_code) == (416, 422)
    assert (await read("bytes=2-4", execution=1)).content == b"234"
    assert (await read("bytes=-3")).content == b"ond"
    assert (await read("bytes=6-", execution=1)).headers["Content-Range"] == "bytes 6-9/10"
    assert (await ada.get(f"jobs/{job}/logs/ps/0")).status_code == 404
    assert (await ada.get(f"jobs/{job}/logs/worker/7")).status_code == 404
    assert (await ada.get(f"jobs/{job}/logs/worker/0", params={"attempt": 9})).status_code == 404


async def test_of_a_long_log_head_and_tail_are_kept_and_the_gap_is_told(tmp_path: Path) -> None:
    async with run_service(tmp_path / "data", limits={"log": 8000}) as service:
        job = await service.submit()
        replica, ada = service.as_replica(await service.control.place(job)), service.as_(ADA)
        whole = b"".join(f"{n:07d}\n".encode() for n in range(4000))
        for at in range(0, len(whole), 3000):
            await write(replica, whole[at : at + 3000], at)
        got = await ada.get(f"jobs/{job}/logs/worker/0")
        first, last = map(int, got.headers["Footplate-Log-Gap"].split("-"))
        tail = await ada.get(f"jobs/{job}/logs/worker/0", headers={"Range": "bytes=-100"})
        across = await ada.get(
            f"jobs/{job}/logs/worker/0", headers={"Range": f"bytes={first - 5}-{last + 5}"}
        )
        inside = await ada.get(
            f"jobs/{job}/logs/worker/0", headers={"Range": f"bytes={first + 1}-{first + 9}"}
        )
    assert got.content == whole[:first] + whole[last:]
    assert first == 4000
    assert 8000 >= len(got.content) >= 7000
    assert tail.content == whole[-100:]
    assert (across.content, inside.status_code) == (whole[first - 5 : first], 416)


async def test_a_gap_that_the_agent_made_is_told(service: Service) -> None:
    job = await service.submit()
    replica, ada = service.as_replica(await service.control.place(job)), service.as_(ADA)
    await write(replica, b"head", 0)
    wrong = await write(replica, b"tail", 4, **{"Footplate-Log-Gap": "3-100"})
    answer = await write(replica, b"tail", 4, **{"Footplate-Log-Gap": "4-100"})
    got = await ada.get(f"jobs/{job}/logs/worker/0")
    assert wrong.status_code == 422
    assert (answer.status_code, answer.headers["Log-Size"]) == (204, "104")
    assert (got.content, got.headers["Footplate-Log-Gap"]) == (b"headtail", "4-100")


async def test_a_log_goes_on_where_a_killed_service_left_it(tmp_path: Path) -> None:
    logs, log = Logs(tmp_path, 10_000), LogId("a-1", "worker", 0, 1)
    await logs.append(log, 0, b"whole")
    with (tmp_path / "logs/a-1/worker-0/1.log").open("ab") as torn:
        torn.write(b" torn")
    after = Logs(tmp_path, 10_000)
    assert after.size(log) == 10
    assert await after.append(log, 10, b" on") == 13


async def test_a_follower_sees_state_output_and_end(any_service: Service) -> None:
    job = await any_service.submit()
    any_service.control.line = [job]

    async def live() -> None:
        await asyncio.sleep(0.05)
        replica = any_service.as_replica(await any_service.control.place(job))
        await write(replica, "grüß".encode()[:4], 0)
        await write(replica, "grüß".encode()[4:], 4)
        point = {"time": 5.0, "step": 1, "values": {"loss": 0.5}}
        await replica.post("agent/report", json={"execution": 1, "state": "running", "metrics": [point]})
        await replica.post("agent/report", json={"execution": 1, "state": "running", "metrics": [point]})
        await any_service.control.finish(job)

    items, _ = await asyncio.gather(collect(any_service, job), live())
    states = [item["job"]["state"] for item in items if item["kind"] == "job"]
    points = [point for item in items if item["kind"] == "metrics" for point in item["metrics"]]
    assert states == ["queued", "running", "succeeded"]
    assert next(item["why"]["position"] for item in items if item["kind"] == "why") == 1
    assert text(items) == "grüß"
    assert [(p["step"], p["values"], p["role"]) for p in points] == [(1, {"loss": 0.5}, "worker")]
    assert items[-1] == {"kind": "end"}
    assert any_service.rooms.bus._by_subject == {}


async def test_a_follower_goes_through_executions_and_attempts(service: Service) -> None:
    job = await service.submit()
    attempt = await service.control.place(job)
    await write(service.as_replica(attempt), b"a1e1 ", 0)
    await service.control.execution(attempt, 2)
    await write(service.as_replica(attempt), b"a1e2 ", 0, execution=2)
    await service.control.end_attempt(attempt, "lost")

    async def live() -> None:
        second = await service.control.place(job, number=2)
        await write(service.as_replica(second), b"a2e1", 0)
        await service.control.finish(job, number=2)

    items, _ = await asyncio.gather(collect(service, job), live())
    assert text(items) == "a1e1 a1e2 a2e1"
    assert [(i["attempt"], i["execution"]) for i in items if i["kind"] == "log"] == [(1, 1), (1, 2), (2, 1)]


async def test_a_follower_resumes_at_the_byte_after_the_last_one(service: Service) -> None:
    job = await service.submit()
    attempt = await service.control.place(job)
    await write(service.as_replica(attempt), b"0123456789", 0)
    await service.control.execution(attempt, 2)
    await write(service.as_replica(attempt), b"abcdef", 0, execution=2)
    await service.control.finish(job)
    resumed = await collect(service, job, attempt=1, execution=2, offset=3)
    whole = await collect(service, job)
    assert text(whole) == "0123456789abcdef"
    assert text(resumed) == "def"
    assert [i["offset"] for i in resumed if i["kind"] == "log"] == [6]


async def test_output_reaches_a_follower_at_once(service: Service) -> None:
    job = await service.submit()
    replica = service.as_replica(await service.control.place(job))
    delays = []
    async with following(service, job) as items:
        async for item in items:
            if item["kind"] == "job":
                break
        for offset in range(50):
            begun = time.monotonic()
            await write(replica, b"x", offset)
            async for item in items:
                if item["kind"] == "log":
                    break
            delays.append(time.monotonic() - begun)
    print(f"append to follower, p50 {sorted(delays)[25] * 1000:.1f} ms, worst {max(delays) * 1000:.1f} ms")
    assert len(delays) == 50


async def test_stopping_the_service_ends_streams_without_an_end(service: Service) -> None:
    job = await service.submit()
    async with following(service, job) as items:
        seen = [await anext(items)]
        service.rooms.bus.close()
        seen += [item async for item in items]
    assert all(item["kind"] != "end" for item in seen)


async def test_metrics_are_read_on_from_an_offset_and_survive_a_torn_line(tmp_path: Path) -> None:
    def point(moment: float) -> dict[str, Any]:
        return {"time": moment, "values": {"loss": moment}}

    async def report(service: Service, attempt: str, *times: float) -> None:
        body = {"execution": 1, "state": "running", "metrics": [point(t) for t in times]}
        assert (await service.as_replica(attempt).post("agent/report", json=body)).status_code == 200

    async with run_service(tmp_path / "data") as service:
        job = await service.submit()
        attempt = await service.control.place(job)
        await report(service, attempt, 1, 2)
        first = (await service.as_(ADA).get(f"jobs/{job}/metrics")).json()
    with (tmp_path / f"data/metrics/{job}.jsonl").open("ab") as torn:
        torn.write(b'{"time": 3.0, "val')
    async with run_service(tmp_path / "data") as service:
        await report(service, attempt, 2, 3)
        rest = (await service.as_(ADA).get(f"jobs/{job}/metrics", params={"after": first["next"]})).json()
    assert [p["time"] for p in first["points"]] == [1, 2]
    assert [p["time"] for p in rest["points"]] == [3]


async def test_events_come_in_order_and_only_those_one_may_see(any_service: Service) -> None:
    mine = await any_service.submit(ADA)
    hers = await any_service.submit(EVE)
    await any_service.as_(ADA).put("secrets/key", json={"value": "v"})

    async def seen(person: Any) -> list[tuple[str, str]]:
        page = (await any_service.as_(person).get("events")).json()
        return [(e["kind"], e["subject"]) for e in page["items"]]

    started = ("service.started", "service")
    assert await seen(ADA) == [started, ("job.submitted", mine), ("secret.stored", "key")]
    assert await seen(BOB) == [started, ("job.submitted", mine)]
    assert await seen(EVE) == [started, ("job.submitted", hers)]
    assert len(await seen(ROOT)) == 4


async def test_what_is_read_together_is_of_one_moment(any_service: Service) -> None:
    count = select(func.count()).select_from(tables.events)
    async with any_service.rooms.database.read() as connection:
        before = (await connection.execute(count)).scalar_one()
        await any_service.submit()
        assert (await connection.execute(count)).scalar_one() == before
    async with any_service.rooms.database.read() as connection:
        assert (await connection.execute(count)).scalar_one() == before + 1


async def test_the_event_stream_resumes_without_a_hole(any_service: Service) -> None:
    jobs = [await any_service.submit() for _ in range(3)]
    position = (await any_service.as_(ADA).get("events", params={"limit": 2})).json()["next"]
    seen: list[str] = []
    headers = {"Last-Event-ID": str(position)}
    async with any_service.as_(ADA).stream("GET", "events/stream", headers=headers) as response:
        lines = response.aiter_lines()
        await anext(lines)
        jobs += [await any_service.submit() for _ in range(3)]
        await any_service.submit(EVE)
        async for line in lines:
            if line.startswith("data: "):
                seen.append(json.loads(line.removeprefix("data: "))["subject"])
            if len(seen) == 5:
                break
    assert seen == jobs[1:]


async def test_an_expired_position_is_told_apart_from_an_empty_page(any_service: Service) -> None:
    for _ in range(3):
        await any_service.submit()
    ada = any_service.as_(ADA)
    await Retention(any_service.rooms).round(time.time() + 31 * 86400)
    expired = await ada.get("events", params={"after": 1})
    stream = await ada.get("events/stream", params={"after": 1})
    start = await ada.get("events", params={"after": 0})
    assert (expired.status_code, stream.status_code, start.status_code) == (410, 410, 200)
    assert expired.json()["code"] == "expired"
    assert len(start.json()["items"]) <= 1


async def test_old_jobs_go_with_their_files(service: Service) -> None:
    job = await service.submit()
    attempt = await service.control.place(job)
    await write(service.as_replica(attempt), b"x", 0)
    await service.control.finish(job)
    service.control.kept_jobs = {
        job,
        "gone-222222",
    }  # one went unnoticed
    retention = Retention(service.rooms)
    await retention.round(time.time() + 31 * 86400)
    assert service.control.kept_jobs == {job}
    assert service.rooms.logs.attempts() == []
    assert (await service.as_(ADA).get(f"jobs/{job}")).status_code == 200
    await retention.round(time.time() + 91 * 86400)
    assert service.control.kept_jobs == set()
    assert (await service.as_(ADA).get(f"jobs/{job}")).status_code == 404
