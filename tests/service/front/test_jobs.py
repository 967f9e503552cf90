"""Jobs through the API, on both databases."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from footplate_spec import JobView, ReasonCode
from support.service import ADA, BOB, EVE, LEA, LOOKER, ROOT, Service, run_service, waiting

SPEC = {"name": "digits", "command": ["python", "train.py"]}


async def test_a_submitted_job_is_there_with_its_event_and_a_reason_to_wait(any_service: Service) -> None:
    answer = await any_service.as_(ADA).post("jobs", json=SPEC)
    view = JobView.model_validate_json(answer.content)
    assert answer.status_code == 201
    assert (view.owner, view.group, view.state, view.time_limit) == (
        "ada",
        "research/vision",
        "queued",
        86400,
    )
    assert view.reason is not None
    assert view.reason.code == ReasonCode.PENDING_EVALUATION
    timeline = (await any_service.as_(ADA).get(f"jobs/{view.id}/events")).json()
    assert [(event["kind"], event["actor"]) for event in timeline] == [("job.submitted", "ada")]
    assert any_service.control.woken == 1


async def test_the_same_key_is_the_same_job_and_another_job_under_it_is_refused(any_service: Service) -> None:
    ada, key = any_service.as_(ADA), {"Idempotency-Key": "k1"}
    first = await ada.post("jobs", json=SPEC, headers=key)
    again = await ada.post("jobs", json=SPEC, headers=key)
    other = await ada.post("jobs", json={**SPEC, "priority": "high"}, headers=key)
    of_bob = await any_service.as_(BOB).post("jobs", json=SPEC, headers=key)
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert first.json()["id"] == again.json()["id"]
    assert other.json()["code"] == "key_reused"
    assert of_bob.json()["id"] != first.json()["id"]


async def test_a_batch_is_queued_in_its_order_all_or_none(any_service: Service) -> None:
    ada = any_service.as_(ADA)
    good = [{"name": f"j{n}", "command": ["true"]} for n in range(40)]
    answer = await ada.post("jobs/batch", json={"jobs": good, "keys": [f"k{n}" for n in range(40)]})
    again = await ada.post("jobs/batch", json={"jobs": good, "keys": [f"k{n}" for n in range(40)]})
    bad = await ada.post("jobs/batch", json={"jobs": [*good, {**good[0], "priority": "urgent"}]})
    listed = (await ada.get("jobs", params={"limit": 1000})).json()["items"]
    assert answer.status_code == 201
    assert again.json() == answer.json()
    assert bad.status_code == 422
    assert [job["id"] for job in reversed(listed)] == answer.json()["ids"]


async def test_pages_go_through_all_jobs_once(any_service: Service) -> None:
    for person in (ADA, EVE):
        jobs = [{"name": f"j{n}", "command": ["true"]} for n in range(25)]
        await any_service.as_(person).post("jobs/batch", json={"jobs": jobs})
    seen: list[str] = []
    before = None
    while True:
        params = {"limit": 10} | ({"before": before} if before else {})
        page = (await any_service.as_(ADA).get("jobs", params=params)).json()
        seen += [job["name"] for job in page["items"]]
        before = page["next"]
        if before is None:
            break
    assert seen == [f"j{n}" for n in reversed(range(25))]


async def test_a_list_is_filtered_by_state_owner_and_group(any_service: Service) -> None:
    running = await any_service.submit(ADA)
    await any_service.submit(BOB)
    await any_service.control.place(running)
    ada = any_service.as_(ADA)

    async def owners(**params: str) -> list[str]:
        return [job["owner"] for job in (await ada.get("jobs", params=params)).json()["items"]]

    assert await owners(state="running,starting") == ["ada"]
    assert await owners(owner="bob") == ["bob"]
    assert await owners(group="research/vision") == ["bob", "ada"]
    assert await owners(group="sales") == []
    refused = await ada.get("jobs", params={"state": "sleeping"})
    assert (refused.status_code, "sleeping" in refused.json()["error"]) == (422, True)


async def test_an_edit_keeps_the_place_unless_it_asks_for_more(any_service: Service) -> None:
    ada, job = any_service.as_(ADA), await any_service.submit()
    less = await ada.patch(f"jobs/{job}", json={"priority": "high", "env": {"A": "1"}})
    more = await ada.patch(f"jobs/{job}", json={"roles": [{"replicas": 4}]})
    edits = [e for e in (await ada.get(f"jobs/{job}/events")).json() if e["kind"] == "job.edited"]
    assert (less.json()["priority"], less.json()["spec"]["env"]) == ("high", {"A": "1"})
    assert more.json()["replicas"] == 4
    assert [e["data"]["place_kept"] for e in edits] == [True, False]


async def test_a_job_moves_to_another_group_and_keeps_its_place(any_service: Service) -> None:
    both = replace(ADA, groups=("research/vision", "sales"))
    any_service.identity.people["token-ada"] = both
    ada, job = any_service.as_(ADA), await any_service.submit(group="research/vision")
    await ada.post(f"jobs/{job}/suspend")
    moved = await ada.patch(f"jobs/{job}", json={"group": "sales"})
    assert (moved.json()["group"], moved.json()["spec"]["group"]) == ("sales", "sales")
    assert (await any_service.as_(BOB).get(f"jobs/{job}")).status_code == 404
    assert (await any_service.as_(EVE).get(f"jobs/{job}")).status_code == 200
    trail = [(e["kind"], e["data"]) for e in (await ada.get(f"jobs/{job}/events")).json()]
    assert ("job.moved", {"from": "research/vision", "to": "sales"}) in trail
    assert ("job.edited", {"changed": ["group"], "place_kept": True}) in trail
    refused = await ada.patch(f"jobs/{job}", json={"group": "ops"})
    assert (refused.status_code, refused.json()["code"]) == (403, "group")
    running = await any_service.submit(group="sales")
    await any_service.control.place(running)
    assert (await ada.patch(f"jobs/{running}", json={"group": "research/vision"})).status_code == 409


async def test_an_administrator_of_a_group_changes_the_jobs_in_and_below_it_and_no_others(
    any_service: Service,
) -> None:
    of_ada, of_eve = await any_service.submit(ADA), await any_service.submit(EVE)
    lea = any_service.as_(LEA)
    assert [job["id"] for job in (await lea.get("jobs")).json()["items"]] == [of_ada]
    assert (await lea.get(f"jobs/{of_eve}")).status_code == 404
    assert (await lea.patch(f"jobs/{of_ada}", json={"priority": "low"})).json()["priority"] == "low"
    assert (await lea.patch(f"jobs/{of_ada}", json={"group": "research/audio"})).json()[
        "group"
    ] == "research/audio"
    assert (await lea.patch(f"jobs/{of_ada}", json={"group": "sales"})).status_code == 403
    assert (await lea.post(f"jobs/{of_ada}/cancel")).status_code == 200
    assert "job.cancelled" in [e["kind"] for e in (await lea.get("events")).json()["items"]]
    assert (await lea.get("me")).json()["administers"] == ["research"]


async def test_of_a_running_job_only_the_time_limit_and_the_priority_change(any_service: Service) -> None:
    ada, job = any_service.as_(ADA), await any_service.submit()
    await any_service.control.place(job)
    longer = await ada.patch(f"jobs/{job}", json={"time_limit": "3h"})
    urgent = await ada.patch(f"jobs/{job}", json={"priority": "high"})
    other = await ada.patch(f"jobs/{job}", json={"env": {"A": "1"}})
    too_long = await ada.patch(f"jobs/{job}", json={"time_limit": "9d"})
    unknown = await ada.patch(f"jobs/{job}", json={"name": "x"})
    assert (longer.json()["time_limit"], urgent.json()["priority"]) == (3 * 3600, "high")
    assert (other.status_code, too_long.status_code, unknown.status_code) == (409, 422, 422)


async def test_stop_suspend_and_resume_answer_with_the_job_or_say_why_not(any_service: Service) -> None:
    ada, job = any_service.as_(ADA), await any_service.submit()
    states = [
        (await ada.post(f"jobs/{job}/{verb}")).json().get("state") for verb in ("suspend", "resume", "cancel")
    ]
    refused = await ada.post(f"jobs/{job}/resume")
    assert states == ["suspended", "queued", "cancelled"]
    assert (refused.status_code, refused.json()["code"]) == (409, "state")


async def test_a_deleted_job_takes_its_logs_metrics_and_references_along(any_service: Service) -> None:
    ada = any_service.as_(ADA)
    digest = await any_service.store(ADA, b"x = 1")
    source = {"function": {"payload": {"encoding": "source", "digest": digest}}}
    answer = await ada.post("jobs", json={"source": source, "python": {"version": "3.11"}})
    job = answer.json()["id"]
    early = await ada.delete(f"jobs/{job}")
    attempt = await any_service.control.place(job)
    replica = any_service.as_replica(attempt)
    await replica.put("agent/logs", params={"execution": 1, "offset": 0}, content=b"hello")
    await replica.post(
        "agent/report",
        json={"execution": 1, "state": "running", "metrics": [{"time": 1.0, "values": {"a": 1}}]},
    )
    await any_service.control.finish(job)
    gone = await ada.delete(f"jobs/{job}")
    assert (early.status_code, gone.status_code) == (409, 204)
    assert (await ada.get(f"jobs/{job}")).status_code == 404
    assert any_service.rooms.logs.attempts() == []
    assert any_service.rooms.metrics.jobs() == []
    trail = (await any_service.as_(ROOT).get("events", params={"actor": "ada", "limit": 1000})).json()[
        "items"
    ]
    assert [event["kind"] for event in trail] == ["job.submitted", "job.deleted"]


async def test_why_names_only_the_jobs_ahead_that_one_may_see(any_service: Service) -> None:
    of_eve, of_bob, mine = [await any_service.submit(person) for person in (EVE, BOB, ADA)]
    any_service.control.line = [of_eve, of_bob, mine]
    any_service.control.reasons[mine] = waiting(
        ReasonCode.WAITING_FOR_CAPACITY, "It needs 8 GPUs, 2 are free."
    )
    why = (await any_service.as_(ADA).get(f"jobs/{mine}/why")).json()
    assert (why["position"], why["ahead"], why["ahead_hidden"]) == (3, [of_bob], 1)
    assert why["sentence"] == (f"Number 3 in line, behind {of_bob} and 1 more. It needs 8 GPUs, 2 are free.")
    assert of_eve not in json.dumps(why)


async def test_a_result_comes_at_the_end(any_service: Service) -> None:
    ada, job = any_service.as_(ADA), await any_service.submit()
    early = await ada.get(f"jobs/{job}/result")
    await any_service.control.place(job)
    await any_service.control.finish(
        job, "failed", result=json.dumps({"attempt": 1, "execution": 1, "error": "E"})
    )
    late = await ada.get(f"jobs/{job}/result")
    assert (early.status_code, early.json()["code"]) == (409, "no_result")
    assert late.json()["error"] == "E"


async def test_a_token_without_the_scope_may_look_and_change_nothing(service: Service) -> None:
    job = await service.submit()
    looker = service.as_(LOOKER)
    assert (await looker.get(f"jobs/{job}")).status_code == 200
    for answer in (
        await looker.post("jobs", json=SPEC),
        await looker.post(f"jobs/{job}/cancel"),
        await looker.put("secrets/x", json={"value": "v"}),
    ):
        assert (answer.status_code, "custom:footplate:submit" in answer.json()["error"]) == (403, True)


async def test_of_a_group_one_sees_all_jobs_and_changes_only_the_own(service: Service) -> None:
    job = await service.submit(ADA)
    bob = service.as_(BOB)
    assert (await bob.get(f"jobs/{job}")).status_code == 200
    assert (await bob.post(f"jobs/{job}/cancel")).status_code == 403
    assert (await bob.delete(f"jobs/{job}")).status_code == 403
    assert (await service.as_(ROOT).post(f"jobs/{job}/cancel")).status_code == 200


async def test_a_job_goes_only_to_clusters_that_can_give_what_it_asks_for(tmp_path: Path) -> None:
    kube = {"image": "py:3", "volumes": {"scratch": "pvc-1"}}
    clusters = [
        {"name": "local"},
        {"name": "kube", "engine": "kubernetes", "kubernetes": kube},
        {"name": "bare", "engine": "kubernetes", "kubernetes": {"image": "py:3"}},
    ]
    volumes = [{"name": "scratch", "path": "/scratch"}]
    mounts = [{"volume": "scratch", "path": "/scratch"}]
    async with run_service(tmp_path / "data", clusters=clusters, volumes=volumes) as service:
        for fields, left in (
            ({}, "any"),
            ({"image": "mine:1"}, ["kube", "bare"]),
            ({"mounts": mounts}, ["local", "kube"]),
            ({"mounts": mounts, "image": "mine:1"}, ["kube"]),
        ):
            job = await service.submit(**fields)
            stored = (await service.as_(ADA).get(f"jobs/{job}")).json()
            assert stored["spec"]["cluster"] == left


async def test_a_job_goes_only_to_clusters_with_a_namespace_for_its_group(tmp_path: Path) -> None:
    clusters = [
        {"name": name, "engine": "kubernetes", "kubernetes": {"image": "py:3", "namespaces": namespaces}}
        for name, namespaces in (("east", {"research": "r", "sales": "s"}), ("west", {"sales": "s"}))
    ]
    async with run_service(tmp_path / "data", clusters=clusters) as service:
        job = await service.submit()
        stored = (await service.as_(ADA).get(f"jobs/{job}")).json()
        assert stored["spec"]["cluster"] == ["east"]
        spec = {"command": ["true"], "cluster": "west"}
        refused = await service.as_(ADA).post("jobs", json=spec)
        assert refused.status_code == 422
        assert "west has no namespace for group research/vision" in refused.text
