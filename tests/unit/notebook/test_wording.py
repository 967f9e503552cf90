"""How a job that waits reads, and what a group has and borrows."""

from __future__ import annotations

from footplate.wording import quota_rows, waiting_sentence
from footplate_spec import BudgetAmount, BudgetUse, Fix, JobState, QuotaUse, Reason, ReasonCode, Usage, Why

REASON = Reason(code=ReasonCode.WAITING_FOR_CAPACITY, message="Needs 8 GPUs; 4 of 8 are free.")
WAIT = Fix(kind="wait", sentence="no change: starts within 1h", start="2026-01-01T00:00:00Z")
SPLIT = Fix(kind="split", sentence="2 × 4 GPUs instead of 8 on one node: starts now", change={"roles": []})


def why(**fields: object) -> Why:
    return Why(job="a", state=JobState.QUEUED, sentence="It waits in line.", **fields)


def test_who_waits_is_told_the_place_the_reason_and_the_cheapest_change_that_starts_it_now():
    assert waiting_sentence(why()) == "waiting: It waits in line."
    assert waiting_sentence(why(position=2, reason=REASON, fixes=[WAIT])) == (
        "position 2: Needs 8 GPUs; 4 of 8 are free."
    )
    assert waiting_sentence(why(position=2, reason=REASON, fixes=[WAIT, SPLIT])) == (
        "position 2: Needs 8 GPUs; 4 of 8 are free. (2 × 4 GPUs instead of 8 on one node: starts now)"
    )


def test_a_quota_shows_what_is_borrowed_and_what_may_be():
    use = QuotaUse(
        group="a",
        cluster="local",
        flavor="h100",
        limit={"gpu": 4},
        most={"gpu": 6},
        used=Usage(gpu=5),
        borrowed=Usage(gpu=1),
    )
    _, rows = quota_rows([use])
    assert rows[0][:5] == ["a", "local/h100", "gpu", "5 (1 borrowed)", "4 (at most 6)"]


def test_a_budget_is_a_row_for_each_of_its_sides():
    use = BudgetUse(
        group="a",
        period="month",
        begins="2026-09-01T00:00:00Z",
        renews="2026-10-01T00:00:00Z",
        gpu_hours=BudgetAmount(limit=1000, used=12.34, reserved=8),
        cost=BudgetAmount(limit=50.5),
        currency="EUR",
    )
    _, rows = quota_rows([], [use])
    assert rows == [
        ["a", "", "GPU-hours a month", "12.3 (8.0 reserved)", "1000", "", "renews 1 October 2026"],
        ["a", "", "EUR a month", "0.0", "50.5", "", "renews 1 October 2026"],
    ]
