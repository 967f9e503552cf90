"""How true ETAs were, for people and for Prometheus: counts of all, names of none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from footplate_spec import Eta, EtaAccuracy
from footplate_spec.units import format_seconds

from .callers import Caller, In

__all__ = ["likely", "router"]

router = APIRouter(tags=["groups"])


def likely(eta: Eta | None) -> str:
    """A range as a sentence that follows another; nothing where it is not known."""
    if eta is None or eta.low is None or eta.high is None:
        return ""
    now = datetime.now(UTC)
    low, high = ((moment - now).total_seconds() for moment in (eta.low, eta.high))
    # No finer than it is known.
    step = 10 if high < 600 else 60 if high < 3600 else 300
    low, high = low // step * step, -(-high // step) * step
    when = (
        f"in {format_seconds(low)} to {format_seconds(high)}" if low > 0 else f"within {format_seconds(high)}"
    )
    return f" It probably starts {when}, {eta.sentence}."


@router.get("/etas")
async def etas(rooms: In, person: Caller) -> EtaAccuracy:
    """What came true of the start times that were foretold."""
    return await rooms.control.foresight.accuracy()


@router.get("/metrics", response_class=Response)
async def metrics(rooms: In, person: Caller) -> Response:
    """The queue in Prometheus' text format; a scraper sends a hub token in its Authorization header."""
    registry = CollectorRegistry()
    registry.register(_Queue(await rooms.control.foresight.accuracy(), *rooms.control.counts()))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Queue(Collector):
    def __init__(self, eta: EtaAccuracy, running: int, waiting: Counter[str]) -> None:
        self._eta, self._running, self._waiting = eta, running, waiting

    def collect(self) -> Iterator[Metric]:
        eta = self._eta
        yield GaugeMetricFamily("footplate_jobs_running", "Jobs that hold nodes.", self._running)
        waiting = GaugeMetricFamily("footplate_jobs_waiting", "Jobs in line, by reason.", labels=["reason"])
        for code, count in sorted(self._waiting.items()):
            waiting.add_metric([code], count)
        yield waiting
        yield GaugeMetricFamily(
            "footplate_etas_stored", "ETA ranges that were given and are kept.", eta.given
        )
        yield GaugeMetricFamily("footplate_etas_open", "Those of them whose jobs still wait.", eta.open)
        settled = GaugeMetricFamily(
            "footplate_etas_settled",
            "Of the last thousand ranges whose jobs started: inside the range, before or after it.",
            labels=["start"],
        )
        for name in ("inside", "early", "late"):
            settled.add_metric([name], getattr(eta, name))
        yield settled
        if eta.median_error is not None and eta.median_width is not None:
            yield GaugeMetricFamily(
                "footplate_eta_error_seconds",
                "Median distance from the middle of the range.",
                eta.median_error,
            )
            yield GaugeMetricFamily(
                "footplate_eta_width_seconds", "Median width of the range.", eta.median_width
            )
