"""Jobs that wait for jobs, through the API, on both databases."""

from __future__ import annotations

import json

from footplate_spec import ReasonCode
from support.service import ADA, BOB, EVE, ROOT, Service, waiting


async def test_a_job_may_wait_only_for_jobs_that_its_submitter_may_see(any_service: Service) -> None:
    of_eve = await any_service.submit(EVE)
    refused = await any_service.as_(ADA).post("jobs", json={"command": ["true"], "after": [{"job": of_eve}]})
    nothing = await any_service.as_(ADA).post(
        "jobs", json={"command": ["true"], "after": [{"job": "x-222222"}]}
    )
    assert (refused.status_code, refused.json()["error"]) == (
        422,
        f"after: there is no job {of_eve!r}, or you may not see it",
    )
    assert nothing.json()["error"] == refused.json()["error"].replace(of_eve, "x-222222")


async def test_a_batch_that_waits_for_what_is_not_there_is_refused_whole(any_service: Service) -> None:
    good, bad = {"command": ["true"]}, {"command": ["true"], "after": [{"job": "x-222222"}]}
    answer = await any_service.as_(ADA).post("jobs/batch", json={"jobs": [good, bad]})
    assert answer.status_code == 422
    assert (await any_service.as_(ADA).get("jobs")).json()["items"] == []


async def test_an_outcome_that_can_no_longer_come_is_refused_and_one_that_came_is_met(
    any_service: Service,
) -> None:
    failed = await any_service.submit()
    await any_service.control.place(failed)
    await any_service.control.finish(failed, "failed")
    ada = any_service.as_(ADA)

    async def wait_for(outcome: str) -> tuple[int, str]:
        after = [{"job": failed, "outcome": outcome}]
        answer = await ada.post("jobs", json={"command": ["true"], "after": after})
        return answer.status_code, answer.json().get("error", "")

    assert await wait_for("succeeded") == (
        422,
        f"after: {failed} has failed, so a job that waits for it to succeed would never start",
    )
    assert (await wait_for("failed"))[0] == 201
    assert (await wait_for("finished"))[0] == 201


async def test_jobs_cannot_be_edited_into_a_circle(any_service: Service) -> None:
    ada = any_service.as_(ADA)
    first = await any_service.submit()
    second = await any_service.submit(after=[{"job": first}])
    third = await any_service.submit(after=[{"job": second}])
    circle = await ada.patch(f"jobs/{first}", json={"after": [{"job": third}]})
    itself = await ada.patch(f"jobs/{first}", json={"after": [{"job": first}]})
    assert (circle.status_code, circle.json()["code"]) == (422, "circle")
    assert (itself.status_code, itself.json()["code"]) == (422, "circle")
    freed = await ada.patch(f"jobs/{third}", json={"after": []})
    assert freed.json()["spec"]["after"] == []
    now_fine = await ada.patch(f"jobs/{first}", json={"after": [{"job": third}]})
    assert now_fine.status_code == 200


async def test_one_sees_of_the_awaited_jobs_only_what_one_may_see(any_service: Service) -> None:
    of_eve, of_bob = await any_service.submit(EVE), await any_service.submit(BOB)
    after = [{"job": of_eve}, {"job": of_bob, "outcome": "finished"}]
    job = await any_service.submit(ROOT, group="research/vision", after=after)
    message = "It waits for another job to succeed and for another job to end."
    reason = waiting(ReasonCode.WAITING_FOR_JOBS, message).model_copy(update={"numbers": {"jobs": 2}})
    any_service.control.reasons[job] = reason
    view = (await any_service.as_(BOB).get(f"jobs/{job}")).json()
    why = (await any_service.as_(BOB).get(f"jobs/{job}/why")).json()
    assert view["spec"]["after"][0]["job"] == "hidden"
    assert why["sentence"] == f"It waits for {of_bob} (queued) to end, for another job."
    assert of_eve not in json.dumps([view, why])
    whole = (await any_service.as_(ROOT).get(f"jobs/{job}/why")).json()
    assert whole["sentence"] == f"It waits for {of_eve} (queued) to succeed, for {of_bob} (queued) to end."
