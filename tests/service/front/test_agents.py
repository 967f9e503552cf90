"""What a replica's token opens, and what it does not; secrets."""

from __future__ import annotations

from footplate_hub.store import tables
from support.service import ADA, BOB, EVE, Service, digest_of


async def test_a_token_is_good_while_its_attempt_lives(service: Service) -> None:
    job = await service.submit()
    attempt = await service.control.place(job)
    replica = service.as_replica(attempt)
    alive = await replica.get("agent/desired")
    forged = await service.as_(None, Authorization=f"Bearer fpr.{attempt}.worker.0.{'0' * 64}").get(
        "agent/desired"
    )
    other = await service.as_replica(attempt, "worker", 5).get("agent/desired")
    of_a_person = await service.as_(ADA).get("agent/desired")
    as_a_person = await replica.get("jobs")
    await service.control.finish(job)
    dead = await replica.get("agent/desired")
    codes = [a.status_code for a in (alive, forged, other, of_a_person, as_a_person, dead)]
    assert codes == [200, 401, 401, 401, 401, 401]


async def test_a_replica_reads_its_jobs_inputs_and_nothing_else(any_service: Service) -> None:
    tree = await any_service.store_tree(ADA, {"a.py": b"print(1)"})
    private = await any_service.store(ADA, b"not of this job")
    job = await any_service.submit(ADA, source={"workspace": {"digest": tree}})
    replica = any_service.as_replica(await any_service.control.place(job))
    inside = await replica.get(f"agent/blobs/{digest_of(b'print(1)')}")
    part = await replica.get(f"agent/blobs/{digest_of(b'print(1)')}", headers={"Range": "bytes=0-4"})
    outside = await replica.get(f"agent/blobs/{private}")
    assert (inside.content, part.content, part.status_code) == (b"print(1)", b"print", 206)
    assert (outside.status_code, (await replica.get(f"agent/blobs/{tree}")).status_code) == (404, 200)


async def test_outputs_belong_to_the_owner_and_a_tree_of_them_keeps_its_files(any_service: Service) -> None:
    job = await any_service.submit()
    attempt = await any_service.control.place(job)
    replica = any_service.as_replica(attempt)
    data = b"weights"
    tree = b'{"kind":"tree/1","files":[{"path":"w","size":7,"digest":"%s"}]}' % digest_of(data).encode()
    report = {
        "execution": 1,
        "state": "exited",
        "exit": {"execution": 1, "exit_code": 0, "files": digest_of(tree)},
    }
    early = await replica.post("agent/report", json=report)
    for blob in (data, tree):
        headers = {"X-Blob-Size": str(len(blob))}
        sent = await replica.put(f"agent/blobs/{digest_of(blob)}", content=blob, headers=headers)
        assert sent.status_code == 201
    late = await replica.post("agent/report", json=report)
    assert (early.status_code, early.json()["code"], late.status_code) == (422, "blob_missing", 200)
    assert len(any_service.control.reports) == 1
    assert (await any_service.as_(ADA).get(f"blobs/{digest_of(data)}")).content == data
    assert (await any_service.as_(EVE).get(f"blobs/{digest_of(data)}")).status_code == 404
    async with any_service.rooms.database.read() as connection:
        kept = (await connection.execute(tables.blob_parts.select())).all()
    assert [tuple(row) for row in kept] == [(digest_of(tree), digest_of(data))]


async def test_an_agent_need_not_name_its_content_type_and_a_page_must(service: Service) -> None:
    replica = service.as_replica(await service.control.place(await service.submit()))
    report = await replica.post("agent/report", content=b'{"execution": 1, "state": "running"}')
    form = await service.as_(ADA).post(
        "jobs", content=b'{"command": "x"}', headers={"Content-Type": "text/plain"}
    )
    assert (report.status_code, form.status_code) == (200, 422)


async def test_a_secret_reaches_the_replicas_that_name_it_and_is_read_back_by_nobody(
    any_service: Service,
) -> None:
    ada, bob = any_service.as_(ADA), any_service.as_(BOB)
    await ada.put("secrets/wandb-key", json={"value": "group's", "group": "research/vision"})
    await ada.put("secrets/wandb-key", json={"value": "ada's own"})
    await ada.put("secrets/deploy", json={"value": "-----KEY-----"})
    uses = {"secrets": [{"name": "wandb-key"}], "command": "x"}
    git = {"git": {"url": "git@host:x", "secret": "deploy"}}
    mine = await any_service.submit(ADA, **{**uses, "source": git})
    shared = await any_service.submit(BOB, **uses)
    values = [
        (await any_service.as_replica(await any_service.control.place(job)).get("agent/secrets")).json()
        for job in (mine, shared)
    ]
    assert values[0]["env"] == {"WANDB_KEY": "ada's own"}
    assert values[0]["git"] == {"name": "deploy", "value": "-----KEY-----"}
    assert values[1] == {"env": {"WANDB_KEY": "group's"}, "files": {}, "git": None}
    listed = await ada.get("secrets")
    assert [(s["name"], s["group"]) for s in listed.json()] == [
        ("deploy", None),
        ("wandb-key", "research/vision"),
        ("wandb-key", None),
    ]
    assert [(s["name"], s["group"]) for s in (await bob.get("secrets")).json()] == [
        ("wandb-key", "research/vision")
    ]
    spoken = listed.text + (await ada.get(f"jobs/{mine}")).text + (await ada.get("events")).text
    assert not any(value in spoken for value in ("ada's own", "group's", "-----KEY-----"))


async def test_a_secret_is_sealed_on_disk_and_its_key_is_private(service: Service) -> None:
    await service.as_(ADA).put("secrets/x", json={"value": "plainly-visible"})
    data = service.rooms.settings.data
    found = [
        file.name for file in data.rglob("*") if file.is_file() and b"plainly-visible" in file.read_bytes()
    ]
    assert found == []
    assert (data / "seal.key").stat().st_mode & 0o777 == 0o600


async def test_secrets_of_other_groups_are_out_of_reach(service: Service) -> None:
    eve = service.as_(EVE)
    await service.as_(ADA).put("secrets/x", json={"value": "v", "group": "research/vision"})
    assert (await eve.put("secrets/x", json={"value": "v", "group": "research/vision"})).status_code == 403
    assert (await eve.delete("secrets/x", params={"group": "research/vision"})).status_code == 403
    assert (await eve.delete("secrets/x")).status_code == 404
    assert (await eve.post("jobs", json={"command": "x", "secrets": [{"name": "x"}]})).status_code == 422
    assert (await eve.get("secrets")).json() == []


async def test_a_secret_deleted_after_the_submit_is_named_to_the_agent(service: Service) -> None:
    await service.as_(ADA).put("secrets/x", json={"value": "v"})
    job = await service.submit(ADA, secrets=[{"name": "x"}])
    replica = service.as_replica(await service.control.place(job))
    await service.as_(ADA).delete("secrets/x")
    answer = await replica.get("agent/secrets")
    assert (answer.status_code, "'x' was deleted" in answer.json()["error"]) == (409, True)
