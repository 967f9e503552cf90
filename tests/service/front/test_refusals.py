"""Everything that is refused, in one sentence each, and what nobody else gets to see."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from footplate_hub.api.versions import refusal
from footplate_hub.identity import Person
from footplate_spec import Group
from support.service import ADA, EVE, PREFIX, ROOT, FakeIdentity, Service, digest_of, run_service

SETTINGS: dict[str, Any] = {
    "groups": [Group(name="research/vision", max_time_limit="2d"), Group(name="sales")],
    "volumes": [
        {"name": "open", "path": "/data/open"},
        {"name": "theirs", "path": "/data/theirs", "groups": ["sales"]},
    ],
    "limits": {"queued_per_person": 3},
}


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"group": "sales"}, 403, "not in group 'sales'"),
        ({"priority": "urgent"}, 422, "high, low, normal"),
        ({"cluster": "moon"}, 422, "no cluster 'moon'"),
        ({"image": "py:3"}, 422, "no cluster can give what the job asks for: local has no images"),
        ({"roles": [{"resources": {"shm": "1Gi"}}]}, 422, "local has no shm"),
        ({"region": "moon"}, 422, "no region 'moon'; no cluster here names one"),
        ({"roles": [{"resources": {"flavor": "h100"}}]}, 422, "no machine has flavor 'h100'"),
        ({"roles": [{"resources": {"gpu": -1}}]}, 422, "greater than or equal to 0"),
        ({"time_limit": "3d"}, 422, "the most that group research/vision may ask for, 2d"),
        ({"mounts": [{"volume": "theirs", "path": "x"}]}, 422, "no volume 'theirs'; there are open"),
        ({"mounts": [{"volume": "open", "path": "x"}, {"volume": "open", "path": "x/"}]}, 422, "same path"),
        ({"secrets": [{"name": "wandb"}]}, 422, "no secret 'wandb' for you or group research/vision"),
        ({"source": {"git": {"url": "https://x/y", "secret": "deploy"}}}, 422, "no secret 'deploy'"),
        ({"source": {"workspace": {"digest": digest_of(b"no")}}}, 422, "upload it first"),
        ({"python": {"version": "2.7"}}, 422, "python.version"),
        ({"comand": "x"}, 422, "did you mean 'command'?"),
        ({"command": None}, 422, "nothing to run"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
async def test_what_is_wrong_with_a_job_is_said_before_it_queues(
    tmp_path: Path, change: dict[str, Any], status: int, words: str
) -> None:
    async with run_service(tmp_path / "data", **SETTINGS) as service:
        answer = await service.as_(ADA).post("jobs", json={"command": ["true"], **change})
        listed = (await service.as_(ADA).get("jobs")).json()["items"]
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert listed == []


async def test_too_many_waiting_jobs_are_refused_until_some_end(tmp_path: Path) -> None:
    async with run_service(tmp_path / "data", **SETTINGS) as service:
        jobs = [await service.submit() for _ in range(3)]
        refused = await service.as_(ADA).post("jobs", json={"command": "x"})
        await service.as_(ADA).post(f"jobs/{jobs[0]}/cancel")
        taken = await service.as_(ADA).post("jobs", json={"command": "x"})
    assert (refused.status_code, taken.status_code) == (429, 201)
    assert "3 jobs" in refused.json()["error"]


async def test_one_person_may_have_only_so_many_jobs_in_a_group_and_below(tmp_path: Path) -> None:
    groups = [Group(name="research", per_person={"queued": 2}), Group(name="research/vision")]
    async with run_service(tmp_path / "data", groups=groups) as service:
        for _ in range(2):
            await service.submit()
        refused = await service.as_(ADA).post("jobs", json={"command": "x"})
        others = await service.as_(ROOT).post("jobs", json={"command": "x", "group": "research/vision"})
    assert refused.status_code == 429
    assert "2 jobs waiting or running in group research, and you have 2" in refused.json()["error"]
    assert others.status_code == 201


async def test_in_several_groups_one_must_say_which(tmp_path: Path) -> None:
    eva = Person("eva", ("a", "b"))
    async with run_service(tmp_path / "data", people=[eva]) as service:
        unsaid = await service.as_(eva).post("jobs", json={"command": "x"})
        said = await service.as_(eva).post("jobs", json={"command": "x", "group": "b"})
    assert (unsaid.status_code, "a, b" in unsaid.json()["error"], said.json()["group"]) == (422, True, "b")


async def test_without_credentials_nothing_answers_but_the_health(service: Service) -> None:
    nobody = service.as_(None)
    paths = [
        ("GET", path.replace("{job}", "x").replace("{digest}", digest_of(b"")))
        for path in (
            "me",
            "jobs",
            "jobs/x",
            "jobs/x/why",
            "jobs/x/follow",
            "jobs/x/events",
            "events",
            "events/stream",
            "nodes",
            "quota",
            "groups",
            "volumes",
            "secrets",
            "blobs/{digest}",
            "agent/desired",
            "agent/secrets",
            "jobs/x/logs/worker/0",
        )
    ] + [("POST", "jobs"), ("POST", "agent/report"), ("PUT", "secrets/x"), ("DELETE", "jobs/x")]
    for method, path in paths:
        answer = await nobody.request(method, path, json={} if method != "GET" else None)
        assert answer.status_code in {401, 422}, (path, answer.text)
        assert answer.status_code == 401 or path.startswith(("jobs", "agent/report", "secrets")), path
        assert set(answer.json()) == {"error", "code"}
    assert (await nobody.get("healthz")).json()["status"] == "ok"


async def test_what_one_may_not_see_answers_as_if_it_did_not_exist(service: Service) -> None:
    job = await service.submit(ADA)
    eve = service.as_(EVE)
    calls = [
        ("GET", ""),
        ("GET", "/why"),
        ("GET", "/result"),
        ("GET", "/follow"),
        ("GET", "/logs/worker/0"),
        ("GET", "/metrics"),
        ("GET", "/events"),
        ("PATCH", ""),
        ("POST", "/cancel"),
        ("POST", "/suspend"),
        ("POST", "/resume"),
        ("DELETE", ""),
    ]
    for method, rest in calls:
        body = {"json": {"priority": "high"}} if method == "PATCH" else {}
        hidden = await eve.request(method, f"jobs/{job}{rest}", **body)
        absent = await eve.request(method, f"jobs/no-such-job{rest}", **body)
        assert (hidden.status_code, absent.status_code) == (404, 404), rest
        assert hidden.text.replace(job, "") == absent.text.replace("no-such-job", "")
    assert (await eve.get("jobs")).json()["items"] == []
    assert (await eve.get("jobs", params={"owner": "ada"})).json()["items"] == []
    assert (await service.as_(ROOT).get(f"jobs/{job}")).status_code == 200


async def test_a_token_in_the_address_is_refused(service: Service) -> None:
    answer = await service.as_(None).get("me", params={"token": "token-ada"})
    assert (answer.status_code, "Authorization" in answer.json()["error"]) == (403, True)


async def test_a_browser_logs_in_and_its_changes_must_be_same_origin(service: Service) -> None:
    browser = service.as_(None)
    begun = await browser.get("login", params={"next": "//evil.example/"})
    foreign = await service.as_(None).get("oauth_callback", params={"code": "ada", "state": "s1"})
    done = await browser.get("oauth_callback", params={"code": "ada", "state": "s1"})
    assert (begun.status_code, foreign.status_code, done.status_code) == (302, 403, 302)
    assert done.headers["Location"] == f"{PREFIX}me"
    cookie = next(c for c in done.headers.get_list("Set-Cookie") if c.startswith("footplate-session="))
    assert re.search(r"HttpOnly.*Path=/services/footplate/", cookie, re.IGNORECASE)
    assert "token-ada" not in cookie
    assert (await browser.get("me")).json()["name"] == "ada"
    spec = {"command": ["true"]}
    origin = service.url.split("/services")[0]
    codes = [
        (await browser.post("jobs", json=spec, headers=headers)).status_code
        for headers in (
            {},
            {"Origin": "https://evil.example"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "cross-site", "Origin": origin},
            {"Origin": origin},
            {"Sec-Fetch-Site": "same-origin"},
        )
    ]
    assert codes == [403, 403, 403, 403, 201, 201]


@pytest.mark.parametrize(
    ("client", "service", "served"),
    [
        ("0.4.1", "0.4.0", True),
        ("0.3.9", "0.4.0", True),
        ("0.2.0", "0.4.0", False),
        ("0.5.0", "0.4.0", False),
        ("1.4.0", "0.4.0", False),
        ("x", "0.4.0", False),
        ("0.4.0.dev1", "0.4.0", True),
    ],
)
def test_a_client_of_this_minor_version_or_the_one_before_is_served(
    client: str, service: str, served: bool
) -> None:
    assert (refusal(client, service) is None) == served


async def test_another_version_is_told_so_and_agents_are_left_alone(service: Service) -> None:
    old = await service.as_(ADA, **{"Footplate-Version": "9.0.0"}).get("me")
    agent = await service.as_(None, **{"Footplate-Version": "9.0.0"}).get("agent/desired")
    assert (old.status_code, old.json()["code"]) == (426, "version")
    assert old.headers["Footplate-Version"] == (await service.as_(ADA).get("me")).headers["Footplate-Version"]
    assert agent.status_code == 401


async def test_an_unavailable_hub_is_said(service: Service) -> None:
    identity = service.identity
    assert isinstance(identity, FakeIdentity)
    identity.away = True
    answer = await service.as_(ADA).get("me")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")


async def test_a_request_that_is_no_json_or_too_large_is_refused(tmp_path: Path) -> None:
    async with run_service(tmp_path / "data", limits={"request": 100_000}) as service:
        ada = service.as_(ADA)
        garbage = await ada.post("jobs", content=b"{nope", headers={"Content-Type": "application/json"})
        large = await ada.post("jobs", json={"command": "x" * 200_000})
        nowhere = await ada.get("teapots")
        blob = b"z" * 300_000
        streamed = await ada.put(
            f"blobs/{digest_of(blob)}", content=blob, headers={"X-Blob-Size": str(len(blob))}
        )
    assert (garbage.status_code, garbage.json()["error"]) == (422, "the request is not JSON")
    assert (large.status_code, set(large.json())) == (413, {"error", "code"})
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "not_found")
    assert streamed.status_code == 201


async def test_only_administrators_block_machines(service: Service) -> None:
    ada, root = service.as_(ADA), service.as_(ROOT)
    block = {"why": "fans are loud"}
    assert (await ada.post("nodes/local/n1/block", json=block)).status_code == 403
    assert (await root.post("nodes/local/n1/block", json=block)).json()["blocked"] == "fans are loud"
    assert (await root.post("nodes/local/n9/block", json=block)).status_code == 409
    assert (await root.put("addresses/10.0.0.1", json=block)).status_code == 204
    assert (await root.put("addresses/ten", json=block)).status_code == 422
    assert (await ada.delete("addresses/10.0.0.1")).status_code == 403
