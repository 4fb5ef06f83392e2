"""Rows become metrics that follow Prometheus's conventions, and sums add up."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from prometheus_client.parser import text_string_to_metric_families

from limpet.control.metrics import exposition
from limpet.control.plane.contract import Active, HandshakeTotals, Totals
from limpet.core.active_sessions import Residence
from limpet.core.address import Address
from limpet.core.model import Listener
from limpet.core.relief.relief import Relief
from limpet.core.stickiness.contract import StickyStatus
from limpet.core.target import Health, Target, TargetState
from limpet.core.tls import KeyPair, ListenerTls
from limpet.errors import ErrorKind
from limpet.proxy.counters import BUCKETS_S, FIRST_BUCKET, FIRST_RESPONSE_BUCKET, Outcome, add_rows, count

WIDTH = FIRST_RESPONSE_BUCKET + len(BUCKETS_S) + 1


def row(*buckets: int, bytes_in: float = 0, duration_s: float = 0) -> list[float]:
    found = [0.0] * WIDTH
    found[0], found[2] = bytes_in, duration_s
    for bucket in buckets:
        found[FIRST_BUCKET + bucket] += 1
        found[FIRST_RESPONSE_BUCKET + bucket] += 1
    return found


ROWS = {
    Outcome("web", "A", 200, StickyStatus.BOUND, None, 0): row(0, 0, 3, bytes_in=7, duration_s=0.25),
    Outcome("web", "A", 200, StickyStatus.TARGET_GONE, None, 1, "gone"): row(14),
    Outcome("web", "", 503, StickyStatus.ABSENT, ErrorKind.NO_TARGET, 2): row(0),
    Outcome("", "", 400, None, ErrorKind.BAD_REQUEST, 0): row(0),
}


class Plane:
    deaths = 1

    def refresh(self) -> Totals:
        return Totals(requests=6, connections=3, rejected_connections=2)

    async def active_sessions(self) -> dict[str, Active]:
        seen = {bytes([number]): Residence("A", "" if number < 3 else "memory", 1.0) for number in range(5)}
        return {"web": Active(seen, is_truncated=False)}

    async def handshakes(self) -> HandshakeTotals:
        return HandshakeTotals(5, 2, {"timeout": 1})

    async def outcomes(self) -> dict[Outcome, list[float]]:
        return ROWS


def samples(accept: str = "text/plain") -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    state = TargetState(Target(id="A", address=Address(host="127.0.0.1", port=1)))
    state.health = Health.HEALTHY
    group = SimpleNamespace(name="web", targets={"A": state}, relief=Relief())
    pair = KeyPair(chain=b"", key=b"", names=("shop.example",), not_before_s=0, not_after_s=1e9)
    listener = Listener(
        address=Address(host="127.0.0.1", port=443), group="web", tls=ListenerTls(pairs=(pair,))
    )
    balancer = SimpleNamespace(
        plane=Plane(),
        settings=SimpleNamespace(workers=2),
        state=SimpleNamespace(groups={"web": group}),
        reloads=4,
        refused_reloads=1,
        bound={listener: Address(host="127.0.0.1", port=443)},
    )
    data, content_type = asyncio.run(exposition(balancer, accept))  # type: ignore[arg-type]
    assert content_type.startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(data.decode())
        for sample in family.samples
    }


def test_requests_add_up() -> None:
    found = samples()

    def get(name: str, /, **labels: str) -> float:
        return found[name, frozenset(labels.items())]

    assert get("limpet_requests_total", target_group="web", target="A", code="200") == 4
    assert get("limpet_requests_total", target_group="web", target="", code="503") == 1
    assert get("limpet_request_errors_total", target_group="web", source="limpet", kind="no_target") == 1
    assert get("limpet_request_errors_total", target_group="", source="client", kind="bad_request") == 1
    assert get("limpet_retries_total", target_group="web") == 3
    assert get("limpet_sticky_requests_total", target_group="web", status="bound") == 3
    assert get("limpet_repins_total", target_group="web", cause="target_gone") == 1
    assert get("limpet_sessions", target_group="web", target="A", state="portable") == 3
    assert get("limpet_sessions", target_group="web", target="A", state="pinned") == 2
    assert get("limpet_suspected_logouts_total", target_group="web", cause="gone") == 1
    assert get("limpet_target_health", target_group="web", target="A", state="healthy") == 1
    assert get("limpet_request_body_bytes_total", target_group="web") == 7
    assert get("limpet_connections_rejected_total") == 2
    assert get("limpet_tls_handshakes_total", result="full") == 3
    assert get("limpet_tls_handshakes_total", result="resumed") == 2
    assert get("limpet_tls_handshake_failures_total", cause="timeout") == 1
    expiry = "limpet_certificate_expiry_timestamp_seconds"
    assert get(expiry, listener="127.0.0.1:443", name="shop.example") == 1e9
    assert get("limpet_reloads_total", result="refused") == 1
    assert get("limpet_worker_deaths_total") == 1


def test_buckets_are_cumulative() -> None:
    found = samples()
    name, labels = "limpet_request_duration_seconds_bucket", {"target_group": "web"}
    counts = [
        found[name, frozenset({**labels, "le": bound}.items())]
        for bound in [*(f"{bound:g}" for bound in BUCKETS_S), "+Inf"]
    ]
    assert counts == [3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 5]
    assert found["limpet_request_duration_seconds_sum", frozenset(labels.items())] == 0.25


def test_rows_of_several_workers_are_added_without_changing_them() -> None:
    total: dict[Outcome, list[float]] = {}
    add_rows(total, ROWS)
    add_rows(total, ROWS)
    assert [count(each) for each in total.values()] == [6, 2, 2, 2]
    assert [count(each) for each in ROWS.values()] == [3, 1, 1, 1]
