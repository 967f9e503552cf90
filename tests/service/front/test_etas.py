"""ETAs through the API: in why, in figures, and for Prometheus."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from footplate_spec import Eta, EtaAccuracy, Reason, ReasonCode
from support.service import ADA, Service


async def test_why_says_when_a_job_starts_and_what_that_rests_on(service: Service) -> None:
    job = await service.submit(ADA)
    now = datetime.now(UTC)
    service.control.reasons[job] = Reason(
        code=ReasonCode.WAITING_FOR_CAPACITY, message="All GPUs are in use."
    )
    service.control.etas[job] = Eta(
        low=now + timedelta(seconds=630),
        middle=now + timedelta(seconds=1200),
        high=now + timedelta(seconds=3630),
        basis="history",
        sentence="from what runs now and how long such jobs took",
    )
    why = (await service.as_(ADA).get(f"jobs/{job}/why")).json()
    assert why["sentence"] == (
        "All GPUs are in use. It probably starts in 10m to 1h5m, "
        "from what runs now and how long such jobs took."
    )
    assert why["eta"]["basis"] == "history"


async def test_figures_are_for_whoever_has_a_token_and_name_nobody(service: Service) -> None:
    job = await service.submit(ADA)
    service.control.reasons[job] = Reason(
        code=ReasonCode.WAITING_FOR_CAPACITY, message="All GPUs are in use."
    )
    service.control.foresight.told = EtaAccuracy(
        given=12, open=2, settled=10, inside=8, early=1, late=1, median_error=60, median_width=300
    )
    assert (await service.as_(ADA).get("etas")).json()["inside"] == 8
    answer = await service.as_(ADA).get("metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["footplate_jobs_waiting", "WaitingForCapacity"] == 1
    assert samples["footplate_etas_settled", "inside"] == 8
    assert samples["footplate_eta_error_seconds",] == 60
    assert job not in answer.text
    assert (await service.as_(None).get("metrics")).status_code == 401
