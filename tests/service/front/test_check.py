"""A job that is checked and not submitted; the queue's own judgement is tested in tests/unit/queue."""

from __future__ import annotations

from pathlib import Path

import pytest

from footplate_spec import Verdict
from support.service import ADA, EVE, LOOKER, run_service

PRICES = {"currency": "EUR", "flavors": {"cpu": {"core_hour": 0.05}}}


async def test_a_check_says_whether_when_and_at_what_cost_and_stores_nothing(tmp_path: Path) -> None:
    job = {"command": ["true"], "time_limit": "2h", "roles": [{"replicas": 2, "resources": {"cpu": 2}}]}
    async with run_service(tmp_path / "data", prices=PRICES) as service:
        ada = service.as_(ADA)
        answer = await ada.post("check", json=job)
        listed = (await ada.get("jobs")).json()["items"]
        woken = service.control.woken
    told = Verdict.model_validate_json(answer.content)
    assert answer.status_code == 200
    assert (told.starts, told.code, told.cost, told.currency) == ("now", None, 0.4, "EUR")
    assert told.message == "It would start now, on cpu. At most 0.40 EUR."
    assert (listed, woken) == ([], 0)


@pytest.mark.parametrize(
    ("roles", "starts", "code", "fixes"),
    [
        (
            [{"resources": {"cpu": 6}}],
            "never",
            "NoMatchingFlavor",
            ["4 cores instead of 6: starts now"],
        ),
        (
            [{"resources": {"cpu": 0.5, "memory": "3Gi"}, "replicas": 5}],
            "never",
            "NoMatchingFlavor",
            [
                "2 replicas instead of 5: starts now",
                "1Gi of memory instead of 3Gi for each replica: starts now",
            ],
        ),
        ([{"resources": {"gpu": 1}}], "never", "NoMatchingFlavor", []),
    ],
)
async def test_what_never_starts_is_told_with_what_would(tmp_path, roles, starts, code, fixes) -> None:
    async with run_service(tmp_path / "data") as service:
        told = (await service.as_(ADA).post("check", json={"command": "x", "roles": roles})).json()
    assert (told["starts"], told["code"], [fix["sentence"] for fix in told["fixes"]]) == (starts, code, fixes)
    assert told["message"].startswith("It would never start. ")
    for fix in told["fixes"]:
        assert set(fix["change"]) == {"roles"}


async def test_an_offered_change_is_a_spec_that_the_check_then_accepts(tmp_path: Path) -> None:
    job = {"command": "x", "roles": [{"name": "w", "resources": {"cpu": 6, "memory": "1Gi"}, "replicas": 1}]}
    async with run_service(tmp_path / "data") as service:
        ada = service.as_(ADA)
        [fix] = (await ada.post("check", json=job)).json()["fixes"]
        again = (await ada.post("check", json={**job, **fix["change"]})).json()
    role = {"name": "w", "replicas": 1, "resources": {"cpu": "4", "memory": 2**30}}
    assert fix["change"] == {"roles": [role]}
    assert again["starts"] == "now"


async def test_an_array_is_judged_by_a_run_and_costs_what_all_cost(tmp_path: Path) -> None:
    job = {"command": "x", "time_limit": "1h", "array": {"count": 5}}
    async with run_service(tmp_path / "data", prices=PRICES) as service:
        told = (await service.as_(ADA).post("check", json=job)).json()
    assert (told["starts"], told["cost"]) == ("now", 0.25)


async def test_what_a_submit_refuses_a_check_refuses(tmp_path: Path) -> None:
    async with run_service(tmp_path / "data") as service:
        group = await service.as_(ADA).post("check", json={"command": "x", "group": "sales"})
        nothing = await service.as_(EVE).post("check", json={})
        looker = await service.as_(LOOKER).post("check", json={"command": "x"})
    assert (group.status_code, nothing.status_code, looker.status_code) == (403, 422, 403)
