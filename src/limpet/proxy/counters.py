"""What became of requests, counted for metrics.

One row for each combination of what can be told apart, found by one look into one table: what a
metric does not want to know is added up when somebody asks, not for every request.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeAlias

    from limpet.core.stickiness.contract import StickyStatus
    from limpet.errors import ErrorKind
    from limpet.proxy.exchange import Exchange

#: Upper bounds of the histograms' buckets, in seconds; beyond the last is one more.
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: Places in a row: sums, then the durations by bucket, then the targets' response times by bucket.
BYTES_IN, BYTES_OUT, DURATION_S, RESPONSE_S, FIRST_BUCKET = range(5)
_WIDTH = len(BUCKETS_S) + 1
FIRST_RESPONSE_BUCKET = FIRST_BUCKET + _WIDTH


#: How much a target's mean response time follows the latest.
_NEW_PART = 0.02


class Outcome(NamedTuple):
    """What is told apart.

    Attributes:
        group, target: names; empty if the request did not get so far.
        status: of HTTP.
        sticky: what became of the request's stickiness; None if it was not routed.
        error: why limpet ended it; None if it did not.
        retries: attempts that failed before.
        logout: why somebody who was in seems to be out; "" for the usual case.
    """

    group: str
    target: str
    status: int
    sticky: StickyStatus | None
    error: ErrorKind | None
    retries: int
    logout: str = ""


Rows: TypeAlias = "dict[Outcome, list[float]]"


class Counters:
    """Counts finished exchanges.

    Attributes:
        rows: by outcome.
    """

    def __init__(self) -> None:
        self.rows: Rows = {}

    def add(self, exchanges: Iterable[Exchange]) -> None:
        """Count exchanges."""
        for exchange in exchanges:
            decision = exchange.decision
            if (
                decision is not None
                and decision.row_status == exchange.status
                and decision.row is not None
                and exchange.error is None
                and not exchange.attempts
                and not exchange.logout
            ):
                row = decision.row
            else:
                row = self._row(exchange)
            took_s = exchange.ended_s - exchange.start_s
            row[BYTES_IN] += exchange.bytes_in
            row[BYTES_OUT] += exchange.bytes_out
            row[DURATION_S] += took_s
            row[FIRST_BUCKET + bisect_left(BUCKETS_S, took_s)] += 1
            if exchange.first_byte_s and exchange.sent_s:
                took_s = exchange.first_byte_s - exchange.sent_s
                row[RESPONSE_S] += took_s
                row[FIRST_RESPONSE_BUCKET + bisect_left(BUCKETS_S, took_s)] += 1
                target = decision.target if decision is not None else None
                if target is not None:
                    target.response_s += (took_s - target.response_s) * _NEW_PART

    def _row(self, exchange: Exchange) -> list[float]:
        decision = exchange.decision
        if decision is None:
            outcome = Outcome("", "", exchange.status, None, exchange.error, 0)
        else:
            outcome = Outcome(
                decision.group.name,
                decision.target.id if decision.target is not None else "",
                exchange.status,
                decision.status,
                exchange.error,
                len(exchange.attempts),
                exchange.logout,
            )
        row = self.rows.get(outcome)
        if row is None:
            row = self.rows[outcome] = [0.0] * (FIRST_RESPONSE_BUCKET + _WIDTH)
        if decision is not None and exchange.error is None and not exchange.attempts and not exchange.logout:
            decision.row, decision.row_status = row, exchange.status
        return row


def count(row: list[float]) -> int:
    """Return how many requests a row stands for."""
    return int(sum(row[FIRST_BUCKET:FIRST_RESPONSE_BUCKET]))


def add_rows(total: Rows, more: Mapping[Outcome, list[float]]) -> None:
    """Add rows to others."""
    for outcome, row in more.items():
        before = total.get(outcome)
        total[outcome] = [a + b for a, b in zip(before, row, strict=True)] if before is not None else row
