"""Blobs: in pieces, in batches, owned, verified, swept."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from typing import Any

import httpx
import pytest

from footplate_hub import files
from footplate_hub.retention import Retention
from support.service import ADA, BOB, EVE, Service, digest_of, run_service

BIG = os.urandom(3_500_000)


async def put(
    client: httpx.AsyncClient, data: bytes, whole: bytes, offset: int, at: str = "blobs"
) -> httpx.Response:
    return await client.put(
        f"{at}/{digest_of(whole)}",
        params={"offset": offset},
        content=data,
        headers={"X-Blob-Size": str(len(whole))},
    )


async def test_an_upload_in_pieces_is_complete_with_the_last_one(any_service: Service) -> None:
    ada = any_service.as_(ADA)
    answers = [
        await put(ada, BIG[:2_000_000], BIG, 0),
        await put(ada, BIG[:2_000_000], BIG, 0),
        await put(ada, BIG[2_000_000:], BIG, 2_000_000),
        await put(ada, BIG, BIG, 0),
    ]
    got = await ada.get(f"blobs/{digest_of(BIG)}")
    assert [answer.status_code for answer in answers] == [202, 409, 201, 201]
    assert answers[1].headers["Upload-Offset"] == "2000000"
    assert got.content == BIG


async def test_an_upload_goes_on_after_the_service_was_started_again(tmp_path: Any) -> None:
    async with run_service(tmp_path / "data") as first:
        await put(first.as_(ADA), BIG[:1_000_000], BIG, 0)
    async with run_service(tmp_path / "data") as second:
        ada = second.as_(ADA)
        head = await ada.head(f"blobs/{digest_of(BIG)}")
        answer = await put(ada, BIG[1_000_000:], BIG, 1_000_000)
        got = await ada.get(f"blobs/{digest_of(BIG)}")
    assert (head.status_code, head.headers["Upload-Offset"]) == (404, "1000000")
    assert (answer.status_code, got.content == BIG) == (201, True)


async def test_wrong_bytes_are_refused_and_nothing_of_them_stays(service: Service) -> None:
    ada, other = service.as_(ADA), b"y" * len(BIG)
    wrong = await put(ada, other, BIG, 0)
    right = await put(ada, BIG, BIG, 0)
    longer = await put(ada, BIG + b"more", BIG[:-1], 0)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "digest")
    assert (right.status_code, longer.status_code) == (201, 422)
    assert list((service.rooms.settings.data / "uploads").iterdir()) == []


async def test_an_empty_blob_is_a_blob(service: Service) -> None:
    ada = service.as_(ADA)
    answer = await put(ada, b"", b"", 0)
    got = await ada.get(f"blobs/{digest_of(b'')}")
    assert (answer.status_code, got.status_code, got.content) == (201, 200, b"")


async def test_a_batch_stores_many_or_none(any_service: Service) -> None:
    ada = any_service.as_(ADA)
    blobs = [f"file {n}\n".encode() * n for n in range(200)]
    body = b"".join(f"{digest_of(b)} {len(b)}\n".encode() + b for b in blobs)
    wrong = await ada.post("blobs/batch", content=body + f"{digest_of(b'a')} 1\nb".encode())
    cut = await ada.post("blobs/batch", content=body[:-1])
    garbage = await ada.post("blobs/batch", content=b"../../etc/passwd 3\nabc")
    missing = (await ada.post("blobs/missing", json={"digests": [digest_of(b) for b in blobs]})).json()[
        "missing"
    ]
    stored = await ada.post("blobs/batch", content=body)
    left = (await ada.post("blobs/missing", json={"digests": [digest_of(b) for b in blobs]})).json()[
        "missing"
    ]
    assert (wrong.status_code, cut.status_code, garbage.status_code) == (422, 422, 422)
    assert len(missing) == 200
    assert (stored.status_code, stored.json(), left) == (201, {"stored": 200}, [])


async def test_bytes_are_read_by_range(service: Service) -> None:
    ada, digest = service.as_(ADA), await service.store(ADA, BIG)

    async def read(text: str) -> httpx.Response:
        return await ada.get(f"blobs/{digest}", headers={"Range": text})

    middle, tail, rest, beyond = [
        await read(r) for r in ("bytes=10-19", "bytes=-5", "bytes=3499990-", f"bytes={len(BIG)}-")
    ]
    assert (middle.status_code, middle.content) == (206, BIG[10:20])
    assert middle.headers["Content-Range"] == f"bytes 10-19/{len(BIG)}"
    assert (tail.content, rest.content) == (BIG[-5:], BIG[3499990:])
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{len(BIG)}")


async def test_anothers_blob_is_as_good_as_none(any_service: Service) -> None:
    digest, eve, bob = await any_service.store(ADA, b"hers"), any_service.as_(EVE), any_service.as_(BOB)
    nowhere = digest_of(b"nowhere")
    foreign, missing = [await eve.get(f"blobs/{d}") for d in (digest, nowhere)]
    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert foreign.text.replace(digest, "") == missing.text.replace(nowhere, "")
    assert (await eve.head(f"blobs/{digest}")).status_code == 404
    asked = await eve.post("blobs/missing", json={"digests": [digest]})
    assert asked.json() == {"missing": [digest]}
    source = {"function": {"payload": {"encoding": "source", "digest": digest}}}
    refused, unknown = [
        await eve.post("jobs", json={"source": s, "python": {"version": "3.11"}})
        for s in (source, {"function": {"payload": {"encoding": "source", "digest": nowhere}}})
    ]
    assert (refused.status_code, refused.json()["code"]) == (422, "blob_missing")
    assert refused.text.replace(digest, "") == unknown.text.replace(nowhere, "")
    assert (await bob.get(f"blobs/{digest}")).status_code == 404
    await any_service.submit(ADA, command=None, source=source, python={"version": "3.11"})
    assert (await bob.get(f"blobs/{digest}")).content == b"hers"
    assert (await eve.get(f"blobs/{digest}")).status_code == 404


async def test_a_workspace_needs_every_file_of_its_tree(any_service: Service) -> None:
    tree = await any_service.store_tree(ADA, {"a.py": b"print(1)", "lib/b.py": b"x = 1"})
    job = await any_service.submit(ADA, source={"workspace": {"digest": tree}})
    bob = any_service.as_(BOB)
    assert (await bob.get(f"blobs/{digest_of(b'x = 1')}")).content == b"x = 1"
    stolen = await any_service.store(EVE, (any_service.rooms.blobs.path(tree)).read_bytes())
    refused = await any_service.as_(EVE).post(
        "jobs", json={"command": "x", "source": {"workspace": {"digest": stolen}}}
    )
    assert (refused.status_code, refused.json()["code"]) == (422, "blob_missing")
    assert job


async def test_a_workspace_over_the_limit_or_with_a_hostile_path_is_refused(tmp_path: Any) -> None:
    async with run_service(tmp_path / "data", limits={"workspace": 10}) as service:
        ada = service.as_(ADA)
        large = await service.store_tree(ADA, {"a": b"0123456789abc"})
        climbing = await service.store(
            ADA, b'{"kind": "tree/1", "files": [{"path": "../x", "digest": "%s"}]}' % large.encode()
        )
        answers = [
            await ada.post("jobs", json={"command": "x", "source": {"workspace": {"digest": digest}}})
            for digest in (large, climbing)
        ]
    assert [answer.status_code for answer in answers] == [413, 422]
    assert "above the limit of 10" in answers[0].json()["error"]
    assert "not a path inside the folder" in answers[1].json()["error"]


async def test_a_damaged_blob_is_noticed_never_served_and_mended_by_an_upload(service: Service) -> None:
    ada, digest = service.as_(ADA), await service.store(ADA, BIG)
    path = service.rooms.blobs.path(digest)
    path.write_bytes(BIG[:-1] + bytes([BIG[-1] ^ 1]))
    with pytest.raises(httpx.RemoteProtocolError):
        await ada.get(f"blobs/{digest}")
    missing = (await ada.post("blobs/missing", json={"digests": [digest]})).json()
    again = await put(ada, BIG, BIG, 0)
    assert missing == {"missing": [digest]}
    assert again.status_code == 201
    assert (await ada.get(f"blobs/{digest}")).content == BIG
    path.unlink()
    gone = await ada.get(f"blobs/{digest}")
    assert (gone.status_code, gone.json()["code"]) == (410, "damaged")


async def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_done(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, real, written = service.as_(ADA), os.pwrite, 0

    def full(descriptor: int, data: bytes, at: int) -> int:
        nonlocal written
        if written > 2_000_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        written += len(data)
        return real(descriptor, data, at)

    monkeypatch.setattr(files.os, "pwrite", full)
    answer = await put(ada, BIG, BIG, 0)
    monkeypatch.undo()
    assert (answer.status_code, answer.json()["code"]) == (507, "disk_full")
    assert "free some space" in answer.json()["error"]
    assert list((service.rooms.settings.data / "uploads").iterdir()) == []
    assert (await put(ada, BIG, BIG, 0)).status_code == 201


async def test_a_low_disk_takes_neither_jobs_nor_blobs(tmp_path: Any) -> None:
    async with run_service(tmp_path / "data", limits={"disk_free": 2**60}) as service:
        ada = service.as_(ADA)
        answers = [await ada.post("jobs", json={"command": "x"}), await put(ada, b"x", b"x", 0)]
    assert [answer.status_code for answer in answers] == [507, 507]


async def test_what_nothing_refers_to_is_swept_after_its_lease(any_service: Service) -> None:
    rooms, control = any_service.rooms, any_service.control
    tree = await any_service.store_tree(ADA, {"a": b"kept by the tree"})
    loose = await any_service.store(ADA, b"loose")
    job = await any_service.submit(ADA, source={"workspace": {"digest": tree}})
    retention = Retention(rooms)
    await retention.round()
    assert rooms.blobs.path(loose).exists()
    await _end_leases(any_service)
    await retention.round()
    assert not rooms.blobs.path(loose).exists()
    assert rooms.blobs.path(digest_of(b"kept by the tree")).exists()
    await control.place(job)
    await control.finish(job)
    await any_service.as_(ADA).delete(f"jobs/{job}")
    await _end_leases(any_service)
    await retention.round()
    assert not rooms.blobs.path(tree).exists()
    assert not rooms.blobs.path(digest_of(b"kept by the tree")).exists()


async def _end_leases(service: Service) -> None:
    from sqlalchemy import update

    from footplate_hub.store import tables

    await service.rooms.database.write(
        lambda t: t.execute(update(tables.blob_owners).values(leased_until=time.time() - 1))
    )


async def test_sweeping_never_takes_what_is_uploaded_at_the_same_time(service: Service) -> None:
    ada, digest = service.as_(ADA), digest_of(b"again and again")
    retention = Retention(service.rooms)
    for _ in range(20):
        await put(ada, b"again and again", b"again and again", 0)
        await _end_leases(service)
        answer, _ = await asyncio.gather(
            put(ada, b"again and again", b"again and again", 0), retention.round()
        )
        assert answer.status_code == 201
        if (await ada.post("blobs/missing", json={"digests": [digest]})).json()["missing"] == []:
            assert (await ada.get(f"blobs/{digest}")).content == b"again and again"
