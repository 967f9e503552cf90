"""Quantities: what people write is what the platform computes with, and nonsense is refused in words."""

from __future__ import annotations

import pytest

from footplate_spec import Resources
from footplate_spec.units import (
    format_about,
    format_bytes,
    format_cpu,
    format_seconds,
    parse_bytes,
    parse_cpu,
    parse_seconds,
)


@pytest.mark.parametrize(
    ("text", "thousandths"),
    [(2, 2000), (0.5, 500), ("2", 2000), ("500m", 500), ("0.001", 1), (" 4 ", 4000)],
)
def test_cpu_is_counted_in_thousandths(text, thousandths):
    assert parse_cpu(text) == thousandths


@pytest.mark.parametrize("text", ["", "two", "-1", "1.0001", True, "5mm", None, "1e3"])
def test_cpu_that_is_no_number_of_cores_is_refused(text):
    with pytest.raises(ValueError, match=r"cores?"):
        parse_cpu(text)


@pytest.mark.parametrize(
    ("text", "amount"),
    [(1024, 1024), ("64Gi", 64 * 2**30), ("1.5G", 1_500_000_000), ("512MiB", 512 * 2**20), ("2 Ki", 2048)],
)
def test_memory_is_counted_in_bytes(text, amount):
    assert parse_bytes(text) == amount


@pytest.mark.parametrize("text", ["", "lots", "-1Gi", "64GiBB", "1.3", False, "64Q"])
def test_memory_that_is_no_amount_is_refused(text):
    with pytest.raises(ValueError, match=r"memory|bytes"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(90, 90), ("90", 90), ("20m", 1200), ("2h", 7200), ("1h30m", 5400), ("1d", 86400), ("1.5h", 5400)],
)
def test_times_are_counted_in_seconds(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5m", "1h30", "0.5s", True, "5 parsecs"])
def test_times_that_are_no_length_are_refused(text):
    with pytest.raises(ValueError, match=r"length of time|finer than a second"):
        parse_seconds(text)


def test_quantities_are_shown_as_people_write_them():
    assert (format_cpu(1500), format_bytes(64 * 2**30), format_seconds(5400)) == ("1.5", "64Gi", "1h30m")
    assert (format_bytes(100), format_seconds(0), format_seconds(90061)) == ("100", "0s", "1d1h")


def test_resources_survive_a_round_trip_through_json():
    asked = Resources(cpu="500m", memory="64Gi", gpu=2)

    assert Resources.model_validate_json(asked.model_dump_json()) == asked
    assert asked.cpu == 500


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1s"), (0.2, "1s"), (119.5, "2m"), (130, "3m"), (3599, "1h"), (7201, "2h5m"), (90_000, "1d1h")],
)
def test_a_time_within_which_something_happens_is_rounded_up_to_what_people_care_for(seconds, text):
    assert format_about(seconds) == text
