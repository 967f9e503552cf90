"""The words around a reason: the place in line, and when it will probably start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from footplate_hub.api.etas import likely
from footplate_hub.api.why import place_words
from footplate_spec import Eta


@pytest.mark.parametrize(
    ("position", "ahead", "words"),
    [
        (None, [], ""),
        (1, [], "First in line. "),
        (2, [], "Number 2 in line. "),
        (2, ["a-1"], "Number 2 in line, behind a-1. "),
        (3, ["a-1"], "Number 3 in line, behind a-1 and 1 more. "),
        (30, ["a-1", "b-2", "c-3", "d-4"], "Number 30 in line, behind a-1, b-2, c-3 and 26 more. "),
    ],
)
def test_who_is_ahead_is_named_as_far_as_one_may_see_them(position, ahead, words):
    assert place_words(position, ahead) == words


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-5, 31.5, " It probably starts within 40s, as a guess."),
        (95, 201.5, " It probably starts in 1m30s to 3m30s, as a guess."),
        (3000, 7000.5, " It probably starts in 50m to 2h, as a guess."),
    ],
)
def test_a_guess_is_no_finer_than_it_is_known(low, high, words):
    now = datetime.now(UTC)
    eta = Eta(
        low=now + timedelta(seconds=low + 1),
        middle=now,
        high=now + timedelta(seconds=high),
        basis="history",
        sentence="as a guess",
    )
    assert likely(eta) == words
    assert likely(eta.model_copy(update={"low": None})) == likely(None) == ""
