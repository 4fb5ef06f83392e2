"""Rates and times out of counters that only grow: two looks at them, a few seconds apart.

Nothing is measured for this: the counters are those of the metrics. A time is estimated from its
histogram, on the assumption that times are spread evenly within a bucket.
"""

from __future__ import annotations

from operator import add
from typing import TYPE_CHECKING, Any, NamedTuple

from limpet.proxy.counters import BUCKETS_S, FIRST_RESPONSE_BUCKET, RESPONSE_S, Outcome, count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

#: Places in the sums of a target; then its response times by bucket.
_REQUESTS, _SERVER_ERRORS, _SECONDS, _FIRST = range(4)
_WIDTH = _FIRST + len(BUCKETS_S) + 1
Sums: TypeAlias = "list[float]"


class Look(NamedTuple):
    """What the counters said at one moment.

    Attributes:
        at_s: monotonic.
        requests: finished, whoever answered them.
        sums: by group and target; the target "" is for requests that reached none.
    """

    at_s: float
    requests: int
    sums: Mapping[tuple[str, str], Sums]


def look(at_s: float, requests: int, rows: Mapping[Outcome, list[float]]) -> Look:
    """Add up what the rates need of the counters."""
    sums: dict[tuple[str, str], Sums] = {}
    for outcome, row in rows.items():
        total = sums.get((outcome.group, outcome.target))
        if total is None:
            total = sums[outcome.group, outcome.target] = [0.0] * _WIDTH
        number = count(row)
        total[_REQUESTS] += number
        if outcome.status >= 500:
            total[_SERVER_ERRORS] += number
        total[_SECONDS] += row[RESPONSE_S]
        total[_FIRST:] = map(add, total[_FIRST:], row[FIRST_RESPONSE_BUCKET:])
    return Look(at_s, requests, sums)


def sticky_counts(rows: Mapping[Outcome, list[float]]) -> dict[str, dict[str, int]]:
    """Return how many requests had each sticky status since the start, by group."""
    found: dict[str, dict[str, int]] = {}
    for outcome, row in rows.items():
        if outcome.sticky is not None:
            group = found.setdefault(outcome.group, {})
            group[outcome.sticky.value] = group.get(outcome.sticky.value, 0) + count(row)
    return found


def rates(before: Look, after: Look) -> dict[str, Any]:
    """Return what happened between two looks, as JSON-able values."""
    over_s = after.at_s - before.at_s
    groups: dict[str, dict[str, Any]] = {}
    totals: dict[str, Sums] = {}
    for (group, target), sums in after.sums.items():
        if not group:
            continue
        grown = _grown(before.sums.get((group, target)), sums)
        if target:
            groups.setdefault(group, {})[target] = _describe(grown, over_s)
        total = totals.get(group)
        totals[group] = list(map(add, total, grown)) if total is not None else grown
    return {
        "over_s": round(over_s, 2),
        "requests_per_s": round(max(0, after.requests - before.requests) / over_s, 2),
        "groups": {
            name: _describe(total, over_s) | {"targets": groups.get(name, {})}
            for name, total in totals.items()
        },
    }


def _grown(before: Sums | None, after: Sums) -> Sums:
    # What a worker that died had counted last may be missing: that is no negative number of requests.
    return list(after) if before is None else [max(0.0, b - a) for a, b in zip(before, after, strict=True)]


def _describe(grown: Sums, over_s: float) -> dict[str, Any]:
    buckets = grown[_FIRST:]
    responses = sum(buckets)
    return {
        "requests_per_s": round(grown[_REQUESTS] / over_s, 2),
        "server_errors_per_s": round(grown[_SERVER_ERRORS] / over_s, 2),
        "response_ms": None
        if not responses
        else {
            "mean": round(grown[_SECONDS] / responses * 1e3, 2),
            "median": _ms(buckets, 0.5),
            "p99": _ms(buckets, 0.99),
        },
    }


def _ms(buckets: Sequence[float], share: float) -> float:
    return round(quantile(buckets, share) * 1e3, 2)


def quantile(buckets: Sequence[float], share: float) -> float:
    """Estimate the time in seconds within which a share of the responses came.

    Args:
        buckets: numbers by `counters.BUCKETS_S`; not all of them 0.
        share: from 0 to 1.

    Returns:
        The last bound if it is beyond all bounds.
    """
    wanted = share * sum(buckets)
    below = 0.0
    lower_s = 0.0
    for upper_s, number in zip(BUCKETS_S, buckets, strict=False):
        if number and below + number >= wanted:
            return lower_s + (upper_s - lower_s) * (wanted - below) / number
        below += number
        lower_s = upper_s
    return lower_s
