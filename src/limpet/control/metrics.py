"""Metrics in the format of Prometheus, made when somebody asks.

Names and labels follow https://prometheus.io/docs/practices/naming/: base units, `_total` for
counters, one meaning for a label. docs/metrics.md explains each.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client.core import CounterMetricFamily as CounterFamily
from prometheus_client.core import GaugeMetricFamily as GaugeFamily
from prometheus_client.core import HistogramMetricFamily as HistogramFamily
from prometheus_client.core import InfoMetricFamily as InfoFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from limpet import __version__
from limpet.control.session_numbers import MOVES, NOBODY, count_residents, session_events
from limpet.core.target import Health
from limpet.proxy.counters import (
    BUCKETS_S,
    BYTES_IN,
    BYTES_OUT,
    DURATION_S,
    FIRST_BUCKET,
    FIRST_RESPONSE_BUCKET,
    RESPONSE_S,
    Outcome,
    count,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

    from limpet.control.balancer import Balancer
    from limpet.control.plane.contract import Active, HandshakeTotals, Totals
    from limpet.core.target import TargetState

_TARGET = ["target_group", "target"]
#: Sticky statuses that mean: the session has got another target than it had.
_REPINNED = MOVES.keys()


class Numbers(NamedTuple):
    """What is known at one moment."""

    balancer: Balancer
    totals: Totals
    active: Mapping[str, Active]
    rows: Mapping[Outcome, list[float]]
    handshakes: HandshakeTotals


async def exposition(balancer: Balancer, accept: str) -> tuple[bytes, str]:
    """Return all metrics and their content type.

    Args:
        accept: the request's Accept header; OpenMetrics for who asks for it.
    """
    plane = balancer.plane
    active, rows = await plane.active_sessions(), await plane.outcomes()
    registry = CollectorRegistry()
    handshakes = await plane.handshakes()
    registry.register(_Collector(Numbers(balancer, plane.refresh(), active, rows, handshakes)))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collector:
    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def collect(self) -> Iterator[Metric]:
        for part in (_of_process, _of_tls, _of_requests, _of_times, _of_targets, _of_stickiness):
            yield from part(self._numbers)


def _of_process(numbers: Numbers) -> Iterable[Metric]:
    balancer, totals = numbers.balancer, numbers.totals
    yield InfoFamily("limpet", "The running limpet.", {"version": __version__})
    yield GaugeFamily("limpet_workers", "Processes that serve clients.", balancer.settings.workers)
    yield GaugeFamily("limpet_connections", "Open client connections.", totals.connections)
    yield CounterFamily(
        "limpet_connections_rejected", "Client connections closed for a limit.", totals.rejected_connections
    )
    reloads = CounterFamily("limpet_reloads", "Reloads of the configuration.", labels=["result"])
    reloads.add_metric(["ok"], balancer.reloads)
    reloads.add_metric(["refused"], balancer.refused_reloads)
    yield reloads
    yield CounterFamily("limpet_worker_deaths", "Workers that ended unasked.", balancer.plane.deaths)


def _of_tls(numbers: Numbers) -> Iterable[Metric]:
    done, resumed, failed = numbers.handshakes
    handshakes = CounterFamily("limpet_tls_handshakes", "TLS handshakes with clients.", labels=["result"])
    handshakes.add_metric(["full"], done - resumed)
    handshakes.add_metric(["resumed"], resumed)
    yield handshakes
    failures = CounterFamily("limpet_tls_handshake_failures", "Those that failed.", labels=["cause"])
    for cause, number in failed.items():
        failures.add_metric([cause], number)
    yield failures
    expiry = GaugeFamily(
        "limpet_certificate_expiry_timestamp_seconds",
        "When a certificate, or one that vouches for it, expires.",
        labels=["listener", "name"],
    )
    for listener, bound in numbers.balancer.bound.items():
        for pair in listener.tls.pairs if listener.tls is not None else ():
            expiry.add_metric([str(bound), pair.names[0]], pair.not_after_s)
    yield expiry


def _of_requests(numbers: Numbers) -> Iterable[Metric]:
    requests = CounterFamily(
        "limpet_requests", "Finished requests; an empty target: none was reached.", labels=[*_TARGET, "code"]
    )
    _fill(requests, numbers, lambda key: (key.group, key.target, str(key.status)), count)
    errors = CounterFamily(
        "limpet_request_errors",
        "Requests that limpet ended, by whose fault it was and what happened.",
        labels=["target_group", "source", "kind"],
    )
    _fill(
        errors,
        numbers,
        lambda key: (key.group, key.error.source.value, key.error.label) if key.error is not None else None,
        count,
    )
    retries = CounterFamily(
        "limpet_retries", "Attempts after which another target was tried.", labels=["target_group"]
    )
    totals: Counter[str] = Counter()
    for key, row in numbers.rows.items():
        totals[key.group] += key.retries * count(row)
    for group in numbers.active:
        retries.add_metric([group], totals[group])
    received = CounterFamily(
        "limpet_request_body_bytes", "Bytes of request bodies from clients.", labels=["target_group"]
    )
    sent = CounterFamily(
        "limpet_response_body_bytes", "Bytes of response bodies to clients.", labels=["target_group"]
    )
    _fill(received, numbers, lambda key: (key.group,), lambda row: row[BYTES_IN])
    _fill(sent, numbers, lambda key: (key.group,), lambda row: row[BYTES_OUT])
    return [requests, errors, retries, received, sent]


def _of_times(numbers: Numbers) -> Iterable[Metric]:
    yield _histogram(
        "limpet_request_duration_seconds",
        "From a request's head to the end of its response.",
        ["target_group"],
        numbers,
        lambda key: (key.group,),
        (FIRST_BUCKET, DURATION_S),
    )
    yield _histogram(
        "limpet_target_response_seconds",
        "From the request's sending to the head of the target's response.",
        _TARGET,
        numbers,
        lambda key: (key.group, key.target),
        (FIRST_RESPONSE_BUCKET, RESPONSE_S),
    )


def _of_targets(numbers: Numbers) -> Iterable[Metric]:
    def gauge(name: str, text: str, value: Callable[[TargetState], float]) -> GaugeFamily:
        family = GaugeFamily(name, text, labels=_TARGET)
        for group in numbers.balancer.state.groups.values():
            for state in group.targets.values():
                family.add_metric([group.name, state.id], value(state))
        return family

    yield gauge("limpet_target_in_flight", "Requests in flight.", lambda state: state.in_flight)
    yield gauge("limpet_target_queued", "Requests that wait for the target.", lambda state: state.queued)
    yield gauge("limpet_target_weight", "Share of new sessions, slow start included.", lambda s: s.weight)
    health = GaugeFamily("limpet_target_health", "1 for the state it is in.", labels=[*_TARGET, "state"])
    errors = CounterFamily("limpet_target_errors", "Attempts without a response.", labels=_TARGET)
    for group in numbers.balancer.state.groups.values():
        for state in group.targets.values():
            errors.add_metric([group.name, state.id], state.errors)
            for each in Health:
                health.add_metric([group.name, state.id, each.value], float(state.health is each))
    yield from (health, errors)


def _of_stickiness(numbers: Numbers) -> Iterable[Metric]:
    sticky = CounterFamily(
        "limpet_sticky_requests", "Requests by their sticky status.", labels=["target_group", "status"]
    )
    _fill(sticky, numbers, lambda key: (key.group, key.sticky.value) if key.sticky else None, count)
    moved = CounterFamily(
        "limpet_repins",
        "Requests of sessions that got another target, by cause.",
        labels=["target_group", "cause"],
    )
    _fill(
        moved,
        numbers,
        lambda key: (key.group, key.sticky.value) if key.sticky in _REPINNED and key.target else None,
        count,
    )
    sessions = GaugeFamily(
        "limpet_sessions",
        "Active sessions at home on a target; any other could serve the portable ones.",
        labels=[*_TARGET, "state"],
    )
    for group in numbers.balancer.state.groups.values():
        residences = numbers.active[group.name].residences if group.name in numbers.active else {}
        residents = count_residents(residences.values(), group.relief.settings.assumed)
        for state in group.targets.values():
            here = residents.get(state.id, NOBODY)
            sessions.add_metric([group.name, state.id, "portable"], here.portable)
            sessions.add_metric([group.name, state.id, "pinned"], here.pinned.total())
    logouts = CounterFamily(
        "limpet_suspected_logouts",
        "Users who were in and seem to be out, by what routing had to do with it.",
        labels=["target_group", "cause"],
    )
    for name, events in sorted(session_events(numbers.rows).items()):
        for cause, number in sorted(events.suspected_logouts.items()):
            logouts.add_metric([name, cause], number)
    return [sticky, moved, sessions, logouts]


def _fill(
    family: CounterFamily,
    numbers: Numbers,
    labels: Callable[[Outcome], tuple[str, ...] | None],
    value: Callable[[list[float]], float],
) -> None:
    sums: dict[tuple[str, ...], float] = {}
    for key, row in numbers.rows.items():
        place = labels(key)
        if place is not None:
            sums[place] = sums.get(place, 0) + value(row)
    for place, total in sorted(sums.items()):
        family.add_metric(list(place), total)


def _histogram(
    name: str,
    text: str,
    label_names: list[str],
    numbers: Numbers,
    labels: Callable[[Outcome], tuple[str, ...]],
    places: tuple[int, int],
) -> HistogramFamily:
    first, sum_at = places
    totals: dict[tuple[str, ...], list[float]] = {}
    for key, row in numbers.rows.items():
        part = [row[sum_at], *row[first : first + len(BUCKETS_S) + 1]]
        before = totals.get(labels(key))
        totals[labels(key)] = [a + b for a, b in zip(before, part, strict=True)] if before else part
    family = HistogramFamily(name, text, labels=label_names)
    for place, (sum_s, *counts) in sorted(totals.items()):
        if any(counts):
            family.add_metric(list(place), _cumulative(counts), sum_s)
    return family


def _cumulative(counts: list[float]) -> list[Any]:
    bounds = [*(f"{bound:g}" for bound in BUCKETS_S), "+Inf"]
    below, buckets = 0.0, []
    for bound, number in zip(bounds, counts, strict=True):
        below += number
        buckets.append((bound, below))
    return buckets
